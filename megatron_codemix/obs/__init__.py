"""What a run says while it runs: log, metrics, progress."""
