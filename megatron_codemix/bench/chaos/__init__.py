"""`codemix bench chaos`: a run that is killed again and again beside one that is left alone."""
