"""The generator: a conditional latent diffusion model over network weights."""
