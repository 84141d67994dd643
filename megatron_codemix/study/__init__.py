"""A study: phases chained by checkpoint, compared as variants. One file says all of it."""
