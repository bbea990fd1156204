"""Everything that leaves a plant: charged, sampled, recorded, cosigned, then sent."""
