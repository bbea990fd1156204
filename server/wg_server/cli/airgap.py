"""``wg-server generate``: for a site without a network."""

from pathlib import Path

import click

from wg_core import cli
from wg_core.options import out_option
from wg_core.wire import canonical
from wg_server.campaigns import airgap
from wg_server.cli.options import home_option
from wg_server.site.home import ServerHome

_statistics_option = click.option(
    "--statistics",
    "source",
    type=click.Path(path_type=Path, dir_okay=False),
    required=True,
    help="A .wgs file, as 'wg-client statistics' writes it.",
)


@click.command()
@home_option
@_statistics_option
@out_option("The .wgw file to write.")
@cli.json_option
def generate(home: ServerHome, source: Path, out: Path, as_json: bool) -> None:
    """Make a weights package from a statistics file, without a network."""
    delivery = airgap.generate_from_file(home, source, out)
    summary = f"{out}: {delivery.bytes} bytes for {delivery.site}"
    then = f"next: carry {out} to the plant, and there: wg-client apply --home HOME {out.name}"
    cli.answer(as_json, canonical.to_builtins(delivery), summary, then)
