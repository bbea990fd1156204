"""Releases of a plant: charged, sampled, recorded, cosigned, then sent."""
