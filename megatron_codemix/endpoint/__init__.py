"""A language model behind an OpenAI-compatible endpoint: asked patiently, paid for once."""
