"""What a list of Megatron-LM's flags is."""

Flags = list[tuple[str, ...]]
"""A flag with its values, as words for a shell."""
