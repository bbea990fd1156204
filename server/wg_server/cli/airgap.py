"""``wg-server generate`` and ``offer``: files for sites without a network."""

from pathlib import Path

import click

from wg_common import cli
from wg_common.language import text
from wg_common.options import out_option
from wg_core.wire import canonical
from wg_server.campaigns import airgap
from wg_server.cli.options import home_option
from wg_server.site.home import ServerHome


@click.command()
@home_option
@out_option("The .wgo file to write; it is public.")
@cli.json_option
def offer(home: ServerHome, out: Path, as_json: bool) -> None:
    """Write what plants may try before they join, as one signed file.

    The encoder, the heads of known kinds, the machines whose data sheets can be served, and how
    many sites have released each class name. 'wg-client simulate --offer' tries it.
    """
    from wg_server.campaigns import offers

    manifest = offers.write_offer(home, out)
    summary = text(
        "{file}: {size} bytes; kinds: {kinds}; machines: {machines}",
        file=out,
        size=out.stat().st_size,
        kinds=", ".join(kind.name for kind in manifest.kinds) or text("none"),
        machines=", ".join(manifest.machines) or text("none"),
    )
    document = {
        "file": str(out),
        "kinds": [kind.name for kind in manifest.kinds],
        "machines": list(manifest.machines),
        "class_names": len(manifest.sites),
        "encoder": manifest.encoder,
    }
    advice = text("next: give it to whoever asks what joining brings")
    if not manifest.kinds and not manifest.machines:
        advice = text(
            "it holds no weights that a plant could try; 'wg-server zoo build' makes some, with a"
            " plan other than demo"
        )
    cli.print_result_lines(as_json, document, summary, advice)


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
    if delivery.is_statistic_unused:
        cli.print_progress(
            text(
                "the statistic of {site}'s records was not used: by the model card the networks for"
                " its machine take none; '--epsilon 0' brings the same, at no cost",
                site=delivery.site,
            )
        )
    summary = text(
        "{file}: {size} bytes for {site}", file=out, size=delivery.bytes, site=delivery.site
    )
    then = text(
        "next: carry {file} to the plant, and there: wg-client apply --home HOME {name}",
        file=out,
        name=out.name,
    )
    cli.print_result_lines(as_json, canonical.to_builtins(delivery), summary, then)
