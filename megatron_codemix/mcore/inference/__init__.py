"""Forward passes without gradients: likelihoods of given tokens, and new tokens with what attention
has read kept."""
