"""What a machine with an NVIDIA GPU is asked once: does all of this run there, and with the same
numbers. `tools/gpu_check.sh` starts it.
"""
