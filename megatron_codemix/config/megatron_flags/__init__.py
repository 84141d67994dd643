"""The flags of Megatron-LM that ask for the same run."""
