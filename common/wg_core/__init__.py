"""The trusted core: all code of ours that the process holding a plant's keys loads.

Privacy mechanism, ledger, wire formats, snapshots, releases, and the plant's node. The code digest
in every charge (``installed_code``) covers exactly this package, which imports no other package of
the project.
"""

__version__ = "0.2.0"
