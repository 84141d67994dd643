"""A language model behind OpenAI's completions interface. Free of torch."""
