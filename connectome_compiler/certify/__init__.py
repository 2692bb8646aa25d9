"""The proof that an emitted module is its graph: it shares no code with what emitted it."""
