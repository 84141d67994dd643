"""`codemix bench train --gpu`: our step on a GPU in every precision, beside plain PyTorch's.

`cases` are the rows, `fit` what they take, `machine` what can run here; `suite` gives each row a
process of its own (`measure`), in which `sides` are timed (`timing`) and their kernels sorted
(`kernels`); `results` keeps finished rows, `figures` makes them readable.
"""
