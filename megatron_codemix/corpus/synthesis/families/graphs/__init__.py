"""Graphs: what can be reached, how far it is, what hangs together.

Drawn expressions say which edges count and what they cost.

`network.py` is what all frames share: themes, edges, inputs. Each other module but `family.py` is
one frame with its solutions and an oracle that goes another way.
"""
