"""How Sphinx makes the site: it reads what scripts/docs_site.py has gathered (`./dev docs`)."""

project = "FlowHive"
author = "The FlowHive developers"
extensions = ["myst_parser"]
root_doc = "docs/index"
html_theme = "furo"
html_title = "FlowHive"
html_copy_source = False
html_show_sphinx = False
#: `#headings` of a page can be linked, as on other sites that show Markdown.
myst_heading_anchors = 4
#: JSON of protocol pages shows comments; it is for people.
suppress_warnings = ["misc.highlighting_failure"]
#: `--` is two characters, and a quote is what was typed.
smartquotes = False
html_show_copyright = False
