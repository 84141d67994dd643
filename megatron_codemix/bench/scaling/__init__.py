"""`codemix bench scaling`: how often intervals of scaling laws hold what they say."""
