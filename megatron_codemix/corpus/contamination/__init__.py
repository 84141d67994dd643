"""What a corpus holds of the items of evaluations, and the corpus without it."""
