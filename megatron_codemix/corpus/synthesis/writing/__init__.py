"""What all families need to write: source text of functions, sentences of statements."""
