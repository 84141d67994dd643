"""Raw text before tokens: readers, recipes of data sets, what this machine itself has, the stages
that a corpus goes through, the split.
"""
