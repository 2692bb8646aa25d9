"""What the style's networks compute: a stack of layers."""

from ..parts.stack_meaning import MEANING as MEANING
