"""Typed expressions that fill the holes of problems; see `node.py` and `drawing.py`."""
