"""What small runs say about large ones: laws, their fits, and how sure they are."""
