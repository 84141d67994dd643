"""Texts: their words and characters as lists, two texts compared, pieces of a text, simple codes.

`family.py` draws one of the frames that the other modules hold.
"""
