"""Weights and shape of a model to and from Hugging Face's format, which `transformers` and what is
built on it read."""
