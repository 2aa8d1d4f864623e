"""How Sphinx builds the site (decision 0036): `make docs`."""

from __future__ import annotations

from sphinx.application import Sphinx

from cloudbeds_auth.version import VERSION

project, author, copyright = "cloudbeds-auth", "", ""  # noqa: A001  Sphinx' own name
release = version = VERSION

extensions = ["myst_parser", "sphinx.ext.autodoc"]
exclude_patterns = ["home.md"]  # index.rst includes it, beside the navigation
source_suffix = {".md": "markdown", ".rst": "restructuredtext"}
show_warning_types = True
suppress_warnings = ["ref.python"]  # an annotation says `TokenVault`, of which there are two

html_theme = "furo"  # light and dark, as the browser wants it; loads nothing from other hosts
html_title = f"cloudbeds-auth {VERSION}"
html_show_sphinx = html_show_copyright = html_copy_source = html_show_sourcelink = False

myst_enable_extensions = ["attrs_inline", "deflist"]
myst_heading_anchors = 6

autoclass_content = "class"
autodoc_member_order = "bysource"
autodoc_typehints = "signature"
default_role = "literal"  # docstrings are plain text with `code`


def indented_is_code(app: Sphinx, what: str, name: str, obj: object, options: object, lines: list[str]) -> None:
    """In docstrings an indented paragraph is code, as in Markdown."""
    marked, within = [], False
    for line in lines:
        indented = line.startswith("    ")
        if indented and not within:
            marked += ["::", ""]
        within = indented or (within and not line)
        marked.append(line)
    lines[:] = marked


def setup(app: Sphinx) -> None:
    """Called by Sphinx."""
    app.connect("autodoc-process-docstring", indented_is_code)
