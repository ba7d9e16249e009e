"""What Sphinx is told, but for the language, which ``python -m _site`` says."""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

project = "chaoying_async"
author = "chaoying_async contributors"
project_copyright = author
extensions = [
    "myst_parser",
    "sphinx.ext.autodoc",
    "_site.docstrings",
    "_site.links",
    "_site.chinese_search",
    "_site.llms",
]

# Pages
myst_heading_anchors = 4
myst_url_schemes = ["http", "https", "mailto", "source"]
locale_dirs = ["../locale"]
highlight_language = "text"
smartquotes = False

# Reference
autodoc_member_order = "groupwise"
autodoc_preserve_defaults = True
autodoc_typehints_format = "short"
python_use_unqualified_type_names = True
maximum_signature_line_length = 72
add_module_names = False

# The site: nothing is fetched from elsewhere
html_theme = "furo"
html_title = "chaoying_async"
html_static_path = ["static"]
html_css_files = ["site.css"]
html_copy_source = False
html_search_scorer = str(Path(__file__).parent / "static" / "scorer.js")
html_show_sphinx = False
html_domain_indices = False
