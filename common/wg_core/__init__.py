"""What an auditor must trust: everything that the process which holds a plant's keys loads.

Privacy, ledger, wire formats, snapshots, releases, and the node that answers. The digest that every
charge states (``installed_code``) covers this package and nothing else. It imports no other package
of ours.
"""

__version__ = "0.2.0"
