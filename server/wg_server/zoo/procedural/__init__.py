"""Procedural source of image tasks: rendered surfaces, defects, characters, parts and boards.

Everything is drawn from a seed with NumPy; no existing pictures are used, so that no licence
applies. A *family* is a kind of plant, with a surface and classes. A *site* is one plant of this
kind, with its own sheet of material, light and camera.
"""
