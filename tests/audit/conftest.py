"""The plant with a ledger of the ledger's own tests, and what a server exports about it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest
from tests.audit.workshop import Truth, make_truth
from tests.core.ledger.conftest import WITNESS, Site

from wg_audit import verification
from wg_common import auditor_record
from wg_common.auditor_record import LogRecord, ServerRecord, SiteRecord, Succession
from wg_core.ledger.budget_ledger import Ledger
from wg_core.wire import bundle, signing
from wg_core.wire.signing import PrivateKey


@dataclass
class Exported:
    """The folder that ``wg-server export`` writes, for one site."""

    folder: Path
    witness_key: PrivateKey
    site: str = "plant-a"
    logs: list[LogRecord] = field(default_factory=list)

    def saw(
        self, origin: str, key: PrivateKey, checkpoint: bytes, succession: Succession = "first"
    ) -> None:
        """The server enrolled this log, and cosigned it up to here."""
        self.logs = [log for log in self.logs if log.origin != origin]
        self.logs.append(
            LogRecord(
                origin=origin,
                key=signing.public_bytes(key).hex(),
                checkpoint=checkpoint.decode(),
                first_seen=1_700_000_000,
                succession=succession,
            )
        )
        self.write()

    def received(self, ledger: Ledger, site: Site, request_id: str) -> Path:
        """The server keeps a release that it got."""
        path = self.folder / self.site / f"{request_id}.wgs"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(bundle.encode(site.covered(ledger, request_id)))
        return path

    def write(self) -> Path:
        """Write ``sites.json`` and the newest checkpoint."""
        record = ServerRecord(
            server="server.example",
            made=1_700_000_000,
            witness_name=WITNESS,
            witness_key=signing.public_bytes(self.witness_key).hex(),
            sites=(SiteRecord(site=self.site, state="enrolled", logs=tuple(self.logs)),),
        )
        folder = self.folder / self.site
        folder.mkdir(parents=True, exist_ok=True)
        (self.folder / auditor_record.SITES_FILE).write_bytes(
            auditor_record.encode_server_record(record)
        )
        if self.logs and self.logs[-1].checkpoint:
            path = folder / auditor_record.CHECKPOINT_FILE
            path.write_text(self.logs[-1].checkpoint)
        return self.folder


@pytest.fixture
def site(tmp_path: Path) -> Site:
    return Site(tmp_path)


@pytest.fixture
def ledger(site: Site) -> Iterator[Ledger]:
    with site.create() as opened:
        yield opened


@pytest.fixture
def exported(site: Site, tmp_path: Path) -> Exported:
    return Exported(tmp_path / "server", site.witness_key)


@pytest.fixture(scope="session")
def happened(tmp_path_factory: pytest.TempPathFactory) -> Truth:
    folder = tmp_path_factory.mktemp("truth")
    site = Site(folder)
    made = make_truth(site, Exported(folder / "server", site.witness_key), folder / "exports")
    verification.audit_log(site.path)  # loads the accountants once, for all processes
    return made


@pytest.fixture
def truth(happened: Truth, tmp_path: Path) -> Truth:
    """The truth, with a folder of its own for a forgery."""
    (tmp_path / "true.wgl").write_bytes(happened.export.read_bytes())
    return replace(happened, folder=tmp_path)
