"""From token shards to batches: shards, manifests, the mixture, the data order, the batch record."""
