"""BioNIC-style networks: an image, through the layers of a cortical column, to classes."""
