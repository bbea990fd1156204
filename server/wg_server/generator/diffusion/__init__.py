"""The diffusion under both generators: a rectified flow, and a transformer that predicts it."""
