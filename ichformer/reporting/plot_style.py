"""How plots look, on every page and in every picture."""

from typing import Any

COLORS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#000000")
"""The colours of Okabe and Ito, which people with a colour vision deficiency can tell apart."""

STYLE: dict[str, Any] = {
    "font.size": 9,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "grid.color": "#e3e6ea",
    "axes.edgecolor": "#8a929c",
    "legend.frameon": False,
    "svg.fonttype": "path",
    "svg.hashsalt": "ichformer",
    "text.parse_math": False,  # a dollar in a label is a dollar
}
"""Settings of Matplotlib, for ``matplotlib.rc_context``."""
