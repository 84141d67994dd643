"""Matrix products in FP8: emulated on any device, or by Transformer Engine on a GPU."""
