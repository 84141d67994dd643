"""`codemix bench train`: our step beside plain PyTorch's, the loop around it, a start."""
