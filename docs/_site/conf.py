"""What Sphinx is told. ``--tag zh-CN`` chooses the language; ``python -m _site`` does that."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1]))

tags: Any  # Sphinx puts it here

_CHINESE = tags.has("zh-CN")

project = "chaoying_async"
author = "chaoying_async contributors"
project_copyright = author
language = "zh_CN" if _CHINESE else "en"
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
html_search_language = "zh" if _CHINESE else "en"
html_copy_source = False
html_show_sphinx = False
html_domain_indices = False
