"""The data engine for others: a torch data set, and the data sets of Megatron-LM's training loop.

The only part of the engine that needs torch.
"""
