"""Integers: formulas with cases, sums over ranges and pairs, numbers that are changed again and
again.

`family.py` draws one of the frames that the other modules hold.
"""
