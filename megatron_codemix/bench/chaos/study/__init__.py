"""`codemix bench chaos --study`: a whole study that is struck again and again beside one left
alone."""
