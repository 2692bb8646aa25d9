"""The layers that emitted modules are made of; written against torch alone.

Emission copies the source of the classes a model uses into its `model.py`, so nothing in this
folder imports the compiler.
"""
