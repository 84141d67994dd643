"""What a trained model is worth: loss on held-out documents."""
