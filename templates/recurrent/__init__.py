"""Recurrent networks: whole nervous systems as rate networks in time."""
