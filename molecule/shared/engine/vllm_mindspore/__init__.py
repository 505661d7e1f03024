"""Stands in for vLLM-MindSpore 0.7.3 in the test hosts' image; see entrypoints.py."""
