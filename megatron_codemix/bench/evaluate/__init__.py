"""`codemix bench evaluate`: our engine beside lm-evaluation-harness's own `hf` model."""
