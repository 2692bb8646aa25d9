"""From a graph and a template to a module's source and arrays."""
