"""A public task source without end: rendered surfaces, defects, characters, parts, boards, cameras.

Everything is drawn from a seed with NumPy; no picture of anybody's is used, hence no licence
applies. A *family* is a kind of plant (a surface and its classes); a *site* is one plant of the
kind (its own material sheet, light and camera).
"""
