"""Things defined by smaller things of their kind: sequences, numbers, lists, trees, tables,
choices.

`family.py` draws one of the frames that the other modules hold. Oracles go from small to large
where solutions recurse, or the other way round.
"""
