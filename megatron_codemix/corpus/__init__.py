"""Raw text before tokens: readers, what this machine itself has, exact duplicates, the split."""
