"""Decisions that the product leaves to a plant's engineers, and the demo makes for them."""

from collections.abc import Iterable, Iterator
from pathlib import Path

from demo.processes import Processes
from wg_client.models import adoption
from wg_core.site.home import ClientHome


def accept_few_sites(processes: Processes, homes: Iterable[Path]) -> Iterator[str]:
    """Adopt models that wait for approval as few sites support a class; yield plants' names."""
    for folder in homes:
        waiting_model = adoption.shadow_model(ClientHome(folder))
        if waiting_model is None or not adoption.predicts_few_site_class(*waiting_model):
            continue
        processes.run(
            *("wg-client", "models", "use", "--home", folder),
            *("--shadow", "--few-sites", "--by", "engineer"),
        )
        yield folder.name
