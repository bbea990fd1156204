"""``wg-client init`` in a process of its own that kills itself (-9) at a named moment.

Usage: python -m tests.e2e.init_process MOMENT WORDS...

MOMENT is one of ``MOMENTS``; any other word kills nothing.
"""

from __future__ import annotations

import importlib
import os
import signal
import sys
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Moment:
    """Just before or just after the ``count``-th call of a function of the product.

    Attributes:
        place: Module, and the function in it, or a class and its method.
    """

    place: str
    after: bool = True
    count: int = 1


MOMENTS = {
    "records read": Moment("wg_client.fleet.home_initialisation:inspect_data"),
    "one key": Moment("wg_core.wire.key_files:save_private_keys"),
    "all keys": Moment("wg_core.site.identity:create_identity"),
    "an empty ledger": Moment("wg_core.ledger.database:install_schema", after=False),
    "a ledger": Moment("wg_core.ledger.budget_ledger:Ledger.create"),
    "the answer": Moment("wg_core.connection.server_link:post"),
    "the witness on the ledger": Moment("wg_core.ledger.budget_ledger:Ledger.enrol_witness"),
    "enrolled": Moment("wg_client.fleet.home_initialisation:enrol"),
    "client.yaml": Moment("wg_core.site.config:save"),
    "half encoded": Moment("wg_core.release.feature_cache:EncodedFeatureCache.add_features"),
    "a snapshot that is not in use": Moment("wg_core.snapshot:make_current", after=False),
    "a snapshot that the ledger does not know": Moment("wg_core.snapshot:make_current"),
}


def stop_at(moment: Moment, stop: Any, patch: Any = setattr) -> None:
    """Have ``stop`` called at a moment; ``patch`` takes an object, a name and a value."""
    module, _, name = moment.place.partition(":")
    owner: Any = importlib.import_module(module)
    *classes, name = name.split(".")
    for found in classes:
        owner = getattr(owner, found)
    # A class method is bound to its class already; a function takes whatever it is called with.
    function, calls = getattr(owner, name), 0

    def stopping(*words: Any, **options: Any) -> Any:
        nonlocal calls
        calls += 1
        if calls == moment.count and not moment.after:
            stop()
        result = function(*words, **options)
        if calls == moment.count and moment.after:
            stop()
        return result

    patch(owner, name, stopping)


def main() -> None:
    moment, *words = sys.argv[1:]
    if moment in MOMENTS:
        stop_at(MOMENTS[moment], lambda: os.kill(os.getpid(), signal.SIGKILL))
    from wg_client.cli.main import group
    from wg_common import cli

    cli.run_program(group, ["init", *words])


if __name__ == "__main__":
    main()
