"""Recipes: which data sets make the sources of a corpus, where they lie and how they are read."""
