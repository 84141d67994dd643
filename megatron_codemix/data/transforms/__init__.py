"""What is done to the samples of a source after they are read."""
