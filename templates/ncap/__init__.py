"""Motor circuits: a motif of cell classes, the same at every joint of a body."""
