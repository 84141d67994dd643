"""Token shards on disk: Megatron's .bin and .idx, the manifest that proves them, their tools."""
