"""Which documents are worth learning from: rules with a reason for every drop, repairs, masks, and
the policies that put them together for a kind of source."""
