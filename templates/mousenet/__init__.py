"""Visual areas as maps, joined by masked convolutions."""
