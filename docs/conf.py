"""The documentation site: ``sphinx-build -W --keep-going -c docs . site`` in the root of the checkout.

The source folder is the whole checkout, so that pages, notebooks and results are read where they lie, and a link
between them leads to the same place here and on a Git host.
"""

import os

from docutils import nodes
from sphinx.application import Sphinx
from sphinx.util.docutils import SphinxDirective

import ichformer
from ichformer.cli.command import COMMANDS, GROUPS, find_command
from ichformer.cli.help import command_help

os.environ["COLUMNS"] = "80"  # of the help texts

project = "ichformer"
author = "The ichformer founders"
copyright = f"2026, {author}"  # noqa: A001, Sphinx calls it so
version = release = ichformer.__version__

extensions = ["myst_nb", "sphinx.ext.autodoc", "sphinx.ext.napoleon", "sphinx.ext.viewcode", "sphinx_copybutton"]
root_doc = "docs/index"
include_patterns = [
    "docs/**",
    "colab/*.ipynb",
    "experiments/RESULTS.md",
    "experiments/studies/*.md",
    "experiments/launch/README.md",
    "ichformer/weights/README.md",
    "tests/plugin_example/README.md",
    "README.md",
    "CHANGELOG.md",
    "CONTRIBUTING.md",
]
exclude_patterns = [".*", "**/.*", "**/__pycache__"]
templates_path = ["_templates"]

myst_heading_anchors = 4  # as Git hosts make them
myst_enable_extensions = ["colon_fence"]
nb_execution_mode = "off"  # tests run the notebooks

autodoc_default_options = {"members": True, "member-order": "bysource"}
autodoc_typehints = "none"  # docstrings say what arguments are, with shapes and units
autodoc_preserve_defaults = True
napoleon_numpy_docstring = False
napoleon_use_rtype = False
napoleon_custom_sections = [("Attributes", "params_style")]  # a list, as that of arguments

html_theme = "furo"
html_title = f"ichformer {version}"
html_static_path = ["_static"]
html_css_files = ["site.css"]
html_additional_pages = {"index": "index.html"}
html_copy_source = False
copybutton_exclude = ".linenos, .gp, .go"  # what doctests print is not copied
pygments_style, pygments_dark_style = "default", "monokai"


class Commands(SphinxDirective):
    """A section for each command, with what ``--help-all`` prints."""

    def run(self) -> list[nodes.Node]:
        """The sections."""
        names = [name for one in COMMANDS for name in ([f"{one} {word}" for word in GROUPS.get(one, ())] or [one])]
        return [self._section(name) for name in names]

    def _section(self, name: str) -> nodes.section:
        command, _ = find_command(name.split())
        section = nodes.section(ids=[name.replace(" ", "-")], names=[name])
        section += nodes.title(text=name)
        section += nodes.literal_block(text=command_help(command, whole=True), language="text")
        return section


def setup(app: Sphinx) -> None:
    """What the pages use beside Sphinx's own."""
    app.add_directive("commands", Commands)
