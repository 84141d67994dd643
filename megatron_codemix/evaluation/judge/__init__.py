"""Which of two models answers better, by the word of a third one. Free of torch."""
