"""Questions that people ask of a connectome, each answered in one call; see `Graph`."""
