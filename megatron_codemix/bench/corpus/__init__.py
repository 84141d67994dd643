"""Rows of `codemix bench corpus`: what curation costs, how much it finds, what a kill leaves."""
