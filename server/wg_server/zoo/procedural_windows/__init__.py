"""Unlimited public source of sensor windows: machines, processes, and sensors.

Everything is drawn from a seed with NumPy; no existing recordings are used, so that no licence
applies. A *family* is a kind of machine with its classes; a *site* is one machine of the kind, with
its own speed, resonances and responses, behind its own sensors.

The windows are caricatures, not simulations: they contain the invariants that distinguish such
classes (impulse rates, side bands, steps) and nuisances (phase, speed, gain, offset, bandwidth,
noise), without representing the physics of any machine.
"""
