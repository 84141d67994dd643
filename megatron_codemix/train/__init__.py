"""The training loop and what it needs around a step: schedule, ledger, checkpoints, metrics."""
