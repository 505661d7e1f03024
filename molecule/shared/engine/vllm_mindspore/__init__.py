"""Stands in for vLLM-MindSpore 0.7.3 in the bed's image; see entrypoints.py."""
