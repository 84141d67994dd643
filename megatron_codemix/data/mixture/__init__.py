"""Which source each sample comes from."""
