"""Problems with solutions and tests, drawn from a grammar and verified: code that is right.

`problem.py` says what a problem is. A family (`families/`) draws problems: a frame, an algorithm
with holes, that typed expressions (`grammar/`) fill. One tree is read as Python, as English and,
by an interpreter of its own, as the value that solutions are checked against. `verification/` runs
all solutions and their mutants in the sandbox; `documents/` writes what is left as documents.
`translation/` says the same in JavaScript; `model_written/` asks a language model for problems.
"""
