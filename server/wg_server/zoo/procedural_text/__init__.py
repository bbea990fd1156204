"""Procedural source of text tasks: maintenance notes, requests and log lines.

Texts are composed at random, from a seed, of phrases in this project's word lists, in English and
Japanese; no existing texts are used, so that no licence applies. A *family* is a kind of plant with
its classes. A *site* is one plant of this kind, with its language, the phrases that its people use,
the length of their notes, and their manner of writing (``wg_common.modalities.writing_habits``).

The texts are simplified: they contain what distinguishes such classes, and what varies within them
(machine, place, number, length, abbreviations, typing errors), but do not represent real notes.
"""
