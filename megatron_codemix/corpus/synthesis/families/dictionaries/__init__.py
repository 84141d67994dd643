"""Dictionaries: groups and counts of a list, tables filtered and changed, two tables merged.

`endings.py` says what is returned of a table; `family.py` draws one of the frames that the other
modules hold.
"""
