"""Spiking networks for the connectome compiler: a package that it knows by entry points alone."""
