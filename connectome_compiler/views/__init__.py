"""Views of a graph for people: tables, networkx, summaries. Nothing is computed from a view."""
