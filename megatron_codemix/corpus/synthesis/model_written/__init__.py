"""Problems that a language model writes, seeded by documents of a corpus.

The model is asked twice: for a problem with a solution and inputs (`prompts`), then, with the
statement alone, for another solution. What comes back is read with patience (`json_in_text`,
`exercise`), and believed only where both solutions agree on all inputs and mutants do not
(`trial`). Every reply is kept as it comes, so that nothing is asked twice (`rounds`).
"""
