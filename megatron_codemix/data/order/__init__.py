"""In which order the samples of one source are read."""
