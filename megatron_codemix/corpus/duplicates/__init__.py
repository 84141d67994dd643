"""The same text once: exact duplicates by digest, near-duplicates by MinHash."""
