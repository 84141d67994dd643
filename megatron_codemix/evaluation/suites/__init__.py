"""Benchmarks as task files of lm-evaluation-harness, read from local data.

`registry` knows what there is without loading the harness; `prepare` reads the data and makes the
harness's task objects of it; `readers` know the formats in which the data is published.
"""
