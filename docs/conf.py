"""Sphinx: the Markdown of this folder as a small static site. `make docs` builds it and refuses links that lead nowhere."""

project = "vllm-ansible"
author = "the vllm-ansible authors"
copyright = "the vllm-ansible authors, Apache-2.0"
extensions = ["myst_parser"]
source_suffix = {".md": "markdown"}
exclude_patterns = ["_build"]
myst_heading_anchors = 4
html_theme = "alabaster"
html_theme_options = {
    "description": "Deploy LLM inference on plain hosts, and prove that it answers",
    "fixed_sidebar": True,
}
html_show_sourcelink = False
nitpicky = True
