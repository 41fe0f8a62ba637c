"""The documentation: Markdown through MyST, the API from docstrings, and generated pages (`generate.py`)."""

from __future__ import annotations

import sys
from pathlib import Path

DOCS = Path(__file__).parent
sys.path[:0] = [str(DOCS), str(DOCS.parent / ".src"), str(DOCS.parent)]

import edgewright  # noqa: E402
import generate  # noqa: E402

generate.write(DOCS / "generated")

project = "Edgewright"
copyright = "the Edgewright maintainers, Apache-2.0"
version = release = edgewright.__version__
extensions = ["myst_nb", "sphinx.ext.autodoc", "sphinx.ext.napoleon", "sphinx.ext.viewcode", "sphinx_copybutton"]
source_suffix = {".md": "myst-nb", ".ipynb": "myst-nb"}
exclude_patterns = ["_build"]
nb_execution_mode = "off"  # the tests run them
myst_enable_extensions = ["colon_fence", "deflist"]
myst_heading_anchors = 3
autodoc_typehints = "description"
autodoc_member_order = "bysource"
nitpicky = False  # types of private modules in signatures have no page; links in the text are checked all the same

html_theme = "furo"
html_title = "Edgewright"
html_static_path: list[str] = []
html_theme_options = {"source_directory": "docs/", "navigation_with_keys": True}
