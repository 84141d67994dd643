"""A card that is not there: `card`, a device of torch's made of the host's memory and kernels,
which takes CUDA's place in a process of its own.

Losses are those of a CPU, so what the code for GPUs does is compared with them; where it lets
tensors of the device and of the host meet, or reads values that it did not copy, it fails as there.
What it cannot show: NCCL, streams, CUDA's kernels, and copies that are still on their way.
"""
