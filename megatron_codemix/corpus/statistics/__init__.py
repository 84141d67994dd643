"""What a corpus holds, counted in one pass over it with bounded memory."""
