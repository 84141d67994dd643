"""Tasks on a model, one after another: their answers kept as they come, their results as files."""
