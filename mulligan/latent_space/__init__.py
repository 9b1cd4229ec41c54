"""What a generator's latent space holds: given pictures, and walks that people can watch."""
