"""What chance does to a comparison: noise of items and of seeds, tests, verdicts. Reads no
files."""
