"""Tasks: data sets to train a GAN on, read from anything, split honestly. Numpy only; imports no jax."""
