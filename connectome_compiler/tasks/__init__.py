"""Tasks that emitted controllers are trained on; they need the extra ``[swimmer]``."""
