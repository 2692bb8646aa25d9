"""Pieces that several styles share."""
