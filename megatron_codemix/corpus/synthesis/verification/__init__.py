"""Runs solutions and their mutants in the sandbox, many problems in one process.

`inside/` is what runs there: it is sent as source text and imports nothing but the standard
library. `batch.py` sends problems and judges what comes back.
"""
