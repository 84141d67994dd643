"""From token shards to batches: shards, manifests, mixture, data order, the batch record."""
