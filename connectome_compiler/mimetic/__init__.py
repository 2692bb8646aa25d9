"""Windowed layers for networks of your own, and `mimic`, which rewrites a network with them."""

from connectome_compiler.mimetic.replace import mimic, plan, usage_table
from connectome_compiler.mimetic.rules import Rule
from connectome_compiler.nn.mimetic_layers import (
    PublishedLayer,
    lab_rule,
    load_published_state,
    mConv2d,
    mConvTranspose2d,
    mLinear,
)
from connectome_compiler.nn.window_layers import WindowConv2d, WindowConvTranspose2d, WindowLinear
from connectome_compiler.nn.window_rules import WindowRule

__all__ = [
    "PublishedLayer",
    "Rule",
    "WindowConv2d",
    "WindowConvTranspose2d",
    "WindowLinear",
    "WindowRule",
    "lab_rule",
    "load_published_state",
    "mConv2d",
    "mConvTranspose2d",
    "mLinear",
    "mimic",
    "plan",
    "usage_table",
]
