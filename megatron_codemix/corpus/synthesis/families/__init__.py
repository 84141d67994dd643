"""Families of problems: one module or package each, listed in `registry.py`."""
