"""A public source of sensor windows without end: machines, processes, and sensors.

Everything is drawn from a seed with NumPy; no recording of anybody's is used, hence no licence
applies. A *family* is a kind of machine with its classes; a *site* is one machine of the kind, with
its own speed, resonances and responses, behind its own sensors.

These are caricatures, not simulations: they have the invariants that tell such classes apart
(impulse rates, side bands, steps) and the nuisances that must not (phase, speed, gain,
offset, bandwidth, noise), with no claim to the physics of any one machine.
"""
