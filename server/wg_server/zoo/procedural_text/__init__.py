"""A public source of texts without end: maintenance notes, requests and log lines, from grammars.

Everything is drawn from a seed with NumPy out of our own word lists, in English and Japanese; no
text of anybody's is used, hence no licence applies. A *family* is a kind of plant with its classes;
a *site* is one plant of the kind: its language, the phrases that its people use, how long they
write, and how (``wg_common.modalities.writing``).

These are caricatures: they have what tells such classes apart, and what must not (machine, place,
person, number, length, abbreviations, typing errors), with no claim to anybody's notes.
"""
