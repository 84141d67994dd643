"""`codemix bench data`: the data engine against megatron-core's."""
