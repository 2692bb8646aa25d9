"""Windowed networks: stacks of layers in which units near each other are joined."""
