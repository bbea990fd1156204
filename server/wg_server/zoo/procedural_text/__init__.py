"""Unlimited public source of texts: maintenance notes, requests and log lines, from grammars.

Everything is drawn from a seed with NumPy out of word lists of this project, in English and
Japanese; no existing texts are used, so that no licence applies. A *family* is a kind of plant with
its classes; a *site* is one plant of the kind: its language, the phrases that its people use, the
length of their notes, and their manner of writing (``wg_common.modalities.writing``).

The texts are caricatures: they contain what distinguishes such classes, and nuisances (machine,
place, person, number, length, abbreviations, typing errors), without representing real notes.
"""
