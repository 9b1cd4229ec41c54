"""Train a GAN on your images. Every GAN it trains makes the next one better."""
