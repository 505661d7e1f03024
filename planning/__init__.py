"""What the filters share on the controller: rows and their keys, names, engine options, environments.

Ansible loads a filter by its path and imports nothing beside it, so a filter puts the project's folder on the path first.
Modules share nothing with it: they run on hosts.
"""
