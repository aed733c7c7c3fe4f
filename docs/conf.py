"""Sphinx' settings of the site. `make docs` writes the pages that it reads; nothing is asked of another host."""

import os
import sys
from pathlib import Path

HERE = Path(__file__).parent
sys.path[:0] = [str(HERE), str(HERE.parent)]

from builder.navigation import add_navigation

import motkit

project, author, release = "motkit", "The motkit team", motkit.__version__
copyright = "The motkit team, Apache-2.0"
extensions = ["myst_parser", "sphinx_design", "sphinx_copybutton"]
source_suffix = {".md": "markdown"}
exclude_patterns = ["README.md"]
templates_path = [str(HERE / "templates")]
nitpicky = True
toc_object_entries = False
python_maximum_signature_line_length = 78
add_module_names = False
suppress_warnings = ["myst.header"]  # a notebook may go from a title to a third level

myst_enable_extensions = ["attrs_inline", "colon_fence", "deflist"]
myst_heading_anchors = 3
copybutton_selector = "div:not(.no-copy) > div.highlight > pre"

html_theme = "pydata_sphinx_theme"
html_title = "motkit"
html_static_path = [str(HERE / "static"), str(Path(os.environ.get("MOTKIT_DOCS_SRC", HERE / "_src")) / "_bokeh")]
html_css_files = ["motkit.css"]
html_js_files = ["motkit.js"]
html_favicon = str(HERE / "static" / "mark.svg")
html_context = {"default_mode": "auto"}
html_search_scorer = str(HERE / "templates" / "scorer.js")
html_copy_source = True
html_show_sourcelink = False
html_sidebars = {"**": ["motkit-nav.html"], "index": [], "search": []}
html_theme_options = {
    "logo": {
        "text": "motkit",
        "image_light": "_static/mark.svg",
        "image_dark": "_static/mark.svg",
        "alt_text": "motkit",
    },
    "navbar_align": "left",
    "navbar_end": ["theme-switcher"],
    "header_links_before_dropdown": 7,
    "navigation_with_keys": False,
    "show_prev_next": True,
    "show_toc_level": 2,
    "secondary_sidebar_items": {"**": ["page-toc"], "index": []},
    "footer_start": ["copyright"],
    "footer_end": [],
    "pygments_light_style": "github-light-high-contrast",
    "pygments_dark_style": "github-dark",
    "search_bar_text": "Search names, words, columns ...",
    "back_to_top_button": True,
}


def setup(app: object) -> dict[str, bool]:
    """The left-hand navigation of large parts is made once, not once a page."""
    app.connect("html-page-context", add_navigation)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
