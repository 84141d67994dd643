"""What a corpus holds, as one page; and how often a study would read it."""
