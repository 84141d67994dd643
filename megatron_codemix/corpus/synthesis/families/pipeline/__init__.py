"""A frame of several families: a list goes through stages, and something is made of what is left.

`stages.py` and `neighbours.py` hold the stages; `endings.py` says what an ending is, and
`counted.py`, `picked.py` and `tested.py` hold them. `flow.py` says how both become Python,
`frame.py` how they become sentences and a problem, `drawing.py` which are drawn where.
"""
