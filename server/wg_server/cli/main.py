"""``wg-server``: the operator's command line. Heavy parts are imported when they are called."""

from __future__ import annotations

import importlib
import logging
import threading
import time
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import click

from wg_common import cli, logs, numbers
from wg_common.errors import ConfigError, DecodeError, PeerError
from wg_common.wire import canonical, fleet, protocol
from wg_server.cli.options import Duration, home_option, when
from wg_server.site.home import ServerConfig, ServerHome

if TYPE_CHECKING:
    from wg_server.store.queue import Campaign

_PORTS = 3
_OWN_WORDS = {
    "quarantined": "its release cannot be what it says, and enters nobody's weights;"
    " see 'wg-server releases list'",
}
"""Why a site's part ended, where the word is this server's own."""


@dataclass(frozen=True, slots=True)
class _Lazy:
    """A command that lives in a module of its own."""

    module: str
    attribute: str
    summary: str


_ELSEWHERE = {
    "zoo": _Lazy("wg_server.cli.zoo", "zoo", "Public tasks and their trained weights."),
    "checkpoint": _Lazy(
        "wg_server.cli.auditors", "checkpoint", "Print the newest cosigned checkpoint of a site."
    ),
    "export": _Lazy("wg_server.cli.auditors", "export", "Write all that an auditor needs."),
    "keys": _Lazy("wg_server.cli.auditors", "keys", "Print the keys that others verify with."),
    "releases": _Lazy(
        "wg_server.cli.releases", "releases", "List releases; accept or reject those in quarantine."
    ),
    "train": _Lazy("wg_server.cli.train", "train", "Train the generator on the zoo."),
}


class _LazyGroup(click.Group):
    """A group that imports a command's module only when the command is called."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return sorted({*super().list_commands(ctx), *_ELSEWHERE})

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        lazy = _ELSEWHERE.get(cmd_name)
        if lazy is None:
            return super().get_command(ctx, cmd_name)
        found = getattr(importlib.import_module(lazy.module), lazy.attribute)
        if not isinstance(found, click.Command):
            raise TypeError(f"{lazy.module}.{lazy.attribute} is no command")
        return found

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        rows = []
        for name in self.list_commands(ctx):
            lazy = _ELSEWHERE.get(name)
            command = None if lazy else super().get_command(ctx, name)
            summary = lazy.summary if lazy else command.get_short_help_str(100) if command else ""
            rows.append((name, summary))
        with formatter.section("Commands"):
            formatter.write_dl(rows)


_accept_option = click.option(
    "--accept-generator",
    metavar="ID",
    default="",
    help="Use the generator of this id although its model card fails.",
)


@click.group(cls=_LazyGroup)
@click.version_option(package_name="weightgate")
def main_group() -> None:
    """The central server: zoo, generator, fleet and campaigns."""


@main_group.command()
@home_option
@click.option("--name", default="weightgate", show_default=True, help="Name in signatures.")
@click.option("--host", default="127.0.0.1", show_default=True, help="Address to bind.")
@click.option("--advertise", default="", help="Host that plants are told, if not --host.")
@click.option(
    "--port",
    type=click.IntRange(0, 65533),
    default=8443,
    show_default=True,
    help="Fleet port; enrolment and admin take free ones above it. 0: any free ports.",
)
@click.option("--database", default="", help="SQLAlchemy URL; SQLite in the home if not given.")
@cli.json_option
def init(
    root: Path, name: str, host: str, advertise: str, port: int, database: str, as_json: bool
) -> None:
    """Make a home: certificate authority, keys, database, server.yaml."""
    from wg_server.operation.initialise import free_ports, initialise

    home = ServerHome(root)
    ports = (port, port + 1, port + 2) if port else tuple(free_ports(host, _PORTS))
    config = ServerConfig(
        name=name,
        host=host,
        advertise=advertise,
        fleet_port=ports[0],
        enrol_port=ports[1],
        admin_port=ports[2],
        database=database,
    )
    initialise(home, config)
    document = {"home": str(root), "fleet": config.fleet_url, "enrolment": config.enrol_url}
    if as_json:
        cli.emit(document)
    else:
        cli.say(f"{root}: ready for {config.fleet_url}; next: wg-server zoo build, train, serve")


@main_group.command()
@home_option
@click.argument("site")
@click.option("--expires", type=Duration(), default="1h", show_default=True, help="Token's life.")
@click.option("--replace", is_flag=True, help="Let an enrolled site enrol again with new keys.")
@cli.json_option
def enroll(root: Path, site: str, expires: float, replace: bool, as_json: bool) -> None:
    """Print a one-time join token for SITE."""
    from wg_server.fleet.enrolment import make_token
    from wg_server.store.sites import Store

    home = ServerHome(root)
    with Store.open(home) as store:
        token = make_token(home, store, site, expires, replace=replace)
    text = protocol.encode_token(token)
    if as_json:
        cli.emit({"site": site, "token": text, "expires": token.expires, "encoder": token.encoder})
    else:
        cli.say(text)
        cli.note(f"good once, until {when(token.expires)}")
        cli.note(f"encoder {token.encoder}: tell the plant's owner, who is asked for it")


@main_group.command()
@home_option
@cli.json_option
def sites(root: Path, as_json: bool) -> None:
    """List the sites."""
    from wg_common.ledger.auditor_record import BUDGET_UNKNOWN
    from wg_server.store import quarantine, succession
    from wg_server.store.sites import Store

    with Store.open(ServerHome(root)) as store:
        rows = [(site, store.certificate_expiry(site.name)) for site in store.sites()]
        forked = {origin for origin, *_ in store.evidence()}
        said = succession.of_sites(store.sites(), store.logs())
        held = Counter(note.site for note in quarantine.notes(store, "quarantined"))
    if as_json:
        cli.emit(
            [
                {
                    "site": site.name,
                    "state": site.state,
                    "enrolled": site.enrolled or None,
                    "last_seen": site.last_seen or None,
                    "certificate_expires": expiry,
                    "ledger_origin": site.ledger_origin,
                    "ledger_fork": site.ledger_origin in forked,
                    "ledger_succession": said.get(site.name),
                    "quarantined": held[site.name],
                }
                for site, expiry in rows
            ]
        )
        return
    for site, expiry in rows:
        fork = "  LEDGER FORK: evidence kept" if site.ledger_origin in forked else ""
        unknown = "  BUDGET UNKNOWN" if said.get(site.name) == BUDGET_UNKNOWN else ""
        quarantined = f"  QUARANTINED: {held[site.name]}" if held[site.name] else ""
        cli.say(
            f"{site.name:24} {site.state:9} seen {when(site.last_seen)}"
            f"  certificate until {when(expiry or 0)}{fork}{unknown}{quarantined}"
        )
    if BUDGET_UNKNOWN in said.values():
        cli.note(
            "budget unknown: the site released on an earlier ledger that the one in use does not"
            " name. Ask the plant for the home that holds the newest of them: there, after"
            " 'wg-server enroll --replace', 'wg-client compromise' carries the spend over. If it is"
            " lost, count all that was released on every ledger: 'wg-server export'"
        )


@main_group.command()
@home_option
@click.argument("site")
@cli.json_option
def revoke(root: Path, site: str, as_json: bool) -> None:
    """Shut SITE out, from its next request on."""
    from wg_server.store.sites import Store

    with Store.open(ServerHome(root)) as store:
        store.revoke(site, time.time())
    cli.emit({"site": site, "state": "revoked"}) if as_json else cli.say(f"{site}: revoked")


@main_group.command()
@home_option
@cli.json_option
def renew(root: Path, as_json: bool) -> None:
    """Make a fresh certificate for the listeners, under the same CA; takes effect at a restart."""
    from wg_server.site import pki

    home = ServerHome(root)
    pki.renew_server(home, home.config())
    expires = pki.load_certificate(home.tls_cert).not_valid_after_utc.timestamp()
    if as_json:
        cli.emit({"certificate_expires": expires})
    else:
        cli.say(f"{home.tls_cert}: good until {when(expires)}; restart the server")


@main_group.command("rotate-keys")
@home_option
@cli.json_option
def rotate_keys(root: Path, as_json: bool) -> None:
    """Make new keys for packages and cosignatures. Every plant must enrol again afterwards."""
    from wg_server.operation.rotation import rotate_keys as rotate

    made = rotate(ServerHome(root))
    if as_json:
        cli.emit(canonical.to_builtins(made))
    else:
        cli.say(f"signing key {made.signing_key}")
        cli.say(f"witness key {made.witness_key}")
        cli.say("next, for each plant: wg-server enroll --replace, wg-client init --replace")


@main_group.command()
@home_option
@_accept_option
@cli.log_option
def serve(root: Path, accept_generator: str, log_format: str) -> None:
    """Serve the fleet: listeners and campaign worker. SIGTERM ends it cleanly."""
    from wg_server.operation import serve as serving

    logs.use(log_format)
    for name in ("alembic", "flwr", "uvicorn"):
        logging.getLogger(name).setLevel(logging.WARNING)
    stop = threading.Event()
    with serving.signals(stop):
        serving.serve(ServerHome(root), stop=stop, accept_generator=accept_generator)


@main_group.command()
@home_option
@click.option(
    "--statistics",
    "source",
    type=click.Path(path_type=Path, dir_okay=False),
    required=True,
    help="A .wgs file, as 'wg-client statistics' writes it.",
)
@click.option(
    "--out",
    type=click.Path(path_type=Path, dir_okay=False),
    required=True,
    help="The .wgw file to write.",
)
@click.option(
    "--architecture",
    default="",
    help="Of the weights: lite0-head, cnn-s, cnn-m, cnn-l, lite0; in a home of sensor windows"
    " window-head, cnn1d-s, cnn1d-m. What server.yaml says if not given.",
)
@_accept_option
@cli.json_option
def generate(
    root: Path, source: Path, out: Path, architecture: str, accept_generator: str, as_json: bool
) -> None:
    """Make a weights package from a statistics file, without a network."""
    from wg_server.campaigns.airgap import generate_from_file

    made = generate_from_file(
        ServerHome(root),
        source,
        out,
        accept_generator=accept_generator,
        architecture=architecture,
    )
    if as_json:
        cli.emit(canonical.to_builtins(made))
    else:
        cli.say(f"{out}: {made.bytes} bytes for {made.site}, from {made.memory} other releases")


@main_group.command()
@home_option
@click.option(
    "--statistics",
    "source",
    type=click.Path(path_type=Path, dir_okay=False),
    required=True,
    help="A .wgs file, as 'wg-client statistics' writes it.",
)
@click.option(
    "--out",
    type=click.Path(path_type=Path, dir_okay=False),
    required=True,
    help="The cosigned checkpoint, for 'wg-client cosigned'.",
)
@cli.json_option
def witness(root: Path, source: Path, out: Path, as_json: bool) -> None:
    """Take a statistics file in and cosign its ledger, without making weights."""
    from wg_server.campaigns.airgap import witness_file

    found = witness_file(ServerHome(root), source, out)
    if as_json:
        cli.emit(canonical.to_builtins(found))
    else:
        cli.say(f"{out}: ledger of {found.site} cosigned up to entry {found.size - 1}")


@main_group.group()
def campaign() -> None:
    """Ask sites for statistics, and deliver weights made from them."""


@campaign.command("start")
@home_option
@click.option("--sites", "names", default="", help="Names with commas; all enrolled if not given.")
@click.option("--epsilon", default="1", show_default=True, help="Epsilon asked of each site.")
@click.option("--delta", default="1e-5", show_default=True, help="Delta asked of each site.")
@click.option("--purpose", default="weights", show_default=True, help="Goes on the ledgers.")
@click.option("--collect-for", type=Duration(), help="How long sites may take to answer.")
@click.option("--deliver-for", type=Duration(), help="How long they may take to fetch.")
@click.option("--wait", is_flag=True, help="Return when it has ended.")
@_accept_option
@cli.json_option
def campaign_start(
    root: Path,
    names: str,
    epsilon: str,
    delta: str,
    purpose: str,
    collect_for: float | None,
    deliver_for: float | None,
    wait: bool,
    accept_generator: str,
    as_json: bool,
) -> None:
    """Queue a campaign; a running server works on it, if it accepts the generator too."""
    from wg_server.generator.evaluation import gate
    from wg_server.store.queue import CampaignQueue
    from wg_server.store.sites import Store

    home = ServerHome(root)
    if home.generator.is_file():
        gate.check(home, accept=accept_generator)
    default = home.config().campaign_hours * 3600.0
    with Store.open(home) as store:
        wanted = [name.strip() for name in names.split(",") if name.strip()]
        enrolled = [site.name for site in store.sites() if site.state == "enrolled"]
        queue = CampaignQueue(store.engine)
        found = queue.add(
            wanted or enrolled,
            epsilon=_number(epsilon, "--epsilon"),
            delta=_number(delta, "--delta"),
            purpose=purpose,
            encoder=home.encoder_id(),
            collect_seconds=collect_for or default,
            deliver_seconds=deliver_for or default,
        )
        cli.note(f"campaign {found.id} queued")
        while wait and found.finished is None:
            time.sleep(0.2)
            found = queue.show(found.id)
    _show(found, as_json)
    if wait and found.state != "done":
        raise PeerError(f"campaign {found.id}: {found.state}")


@campaign.command("list")
@home_option
@cli.json_option
def campaign_list(root: Path, as_json: bool) -> None:
    """List campaigns, newest first."""
    from wg_server.store.queue import CampaignQueue
    from wg_server.store.sites import Store

    with Store.open(ServerHome(root)) as store:
        found = CampaignQueue(store.engine).all()
    if as_json:
        cli.emit([_document(each) for each in found])
        return
    for each in found:
        served = sum(task.state == "delivered" for task in each.tasks)
        cli.say(
            f"{each.id}  {each.state:10} {served}/{len(each.tasks)} served"
            f"  epsilon {each.epsilon}  {when(each.created)}  {each.purpose}"
        )


@campaign.command("show")
@home_option
@click.argument("campaign_id", metavar="ID")
@cli.json_option
def campaign_show(root: Path, campaign_id: str, as_json: bool) -> None:
    """Show how far a campaign got at each site."""
    from wg_server.store.queue import CampaignQueue
    from wg_server.store.sites import Store

    with Store.open(ServerHome(root)) as store:
        found = CampaignQueue(store.engine).show(campaign_id)
    _show(found, as_json)


@campaign.command("cancel")
@home_option
@click.argument("campaign_id", metavar="ID")
@cli.json_option
def campaign_cancel(root: Path, campaign_id: str, as_json: bool) -> None:
    """End a campaign; what plants released stays released."""
    from wg_server.store.queue import CampaignQueue
    from wg_server.store.sites import Store

    with Store.open(ServerHome(root)) as store:
        found = CampaignQueue(store.engine).cancel(campaign_id)
    _show(found, as_json)


def main() -> None:
    """Entry point of ``wg-server``."""
    cli.run(main_group)


def _show(found: Campaign, as_json: bool) -> None:
    if as_json:
        cli.emit(_document(found))
        return
    cli.say(f"campaign {found.id}: {found.state} {found.reason}".rstrip())
    for task in found.tasks:
        why = fleet.REFUSALS.get(task.code, fleet.MEANING.get(task.code, ""))
        why = _OWN_WORDS.get(task.code, why)
        words = f"{task.code}: {why}" if why else task.code
        cli.say(f"  {task.site:24} {task.state:10} {words}".rstrip())


def _document(found: Campaign) -> Mapping[str, object]:
    document: dict[str, object] = dict(canonical.to_builtins(found))
    document["sites"] = document.pop("tasks")
    return document


def _number(text: str, option: str) -> str:
    try:
        value = numbers.exact(text, what=option)
    except DecodeError as error:
        raise ConfigError(str(error)) from error
    if value <= 0:
        raise ConfigError(f"{option}: {text}, expected above 0")
    return text


if __name__ == "__main__":  # torchrun -m wg_server.cli.main
    main()
