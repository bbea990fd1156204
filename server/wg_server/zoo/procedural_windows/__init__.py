"""Procedural source of tasks with sensor windows: rotating machines and processes.

Everything is drawn from a seed with NumPy; no existing recordings are used, so that no licence
applies. A *family* is a kind of machine with its classes. A *site* is one machine of this kind,
with its own speed, resonances and responses, measured by its own sensors.

The signals are simplified: they contain what distinguishes such classes (impulse rates, side bands,
steps), and what varies within them (phase, speed, gain, offset, bandwidth, noise), but do not
follow the physics of any machine.
"""
