"""A corpus of what this machine has: Python code, markup and English prose."""
