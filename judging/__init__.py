"""What the controller needs to judge whether two services answer alike: statistics, packs of reference answers, verdicts.

Standard library only. Filters and action plugins put the project on their path, as for `planning`.
"""
