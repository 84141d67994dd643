"""lm-evaluation-harness on the model where it lies: its tasks ask, the engine answers."""
