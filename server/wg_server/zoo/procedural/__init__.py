"""Unlimited public source of image tasks: rendered surfaces, defects, characters, parts, boards.

Everything is drawn from a seed with NumPy; no existing pictures are used, so that no licence
applies. A *family* is a kind of plant (a surface and its classes); a *site* is one plant of the
kind (with its own material sheet, light and camera).
"""
