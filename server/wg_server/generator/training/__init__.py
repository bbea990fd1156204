"""What every training shares: devices, checkpoints, noise."""
