"""What benchmarks do not ask of a model: weak code, verbatim memory, secrets (docs/safety.md)."""
