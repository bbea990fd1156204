"""Files for the auditor come from strangers: whatever is in them, it answers in its own words."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import rfc8785
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from wg_audit import received_files
from wg_common import auditor_record
from wg_core.errors import DecodeError, WgError
from wg_core.ledger import entries
from wg_core.ledger.entries import Charge
from wg_core.wire import container, statistics_file

if TYPE_CHECKING:
    from tests.audit.conftest import Exported
    from tests.core.ledger.conftest import Site

fuzzed = settings(
    max_examples=300, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck)
)
UNUSED = {"version", "software", "release_id", "data_sheet"}  # no cost follows from a public sheet
HOSTILE = [
    0,
    -1,
    3,
    (1 << 53) - 1,
    -(1 << 53) + 1,
    "",
    "0",
    "-1",
    "nan",
    "1e999",
    "1e30000000",
    "9" * 400,
    "0x1.8p+9999",
    "\x00",
    "٣",
    "../../etc",
    None,
    True,
    [],
    {},
    [[]],
    ["a", "a"],
    {"a": {}},
]


def places(document: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Paths to every value of a JSON document."""
    if path:
        yield path
    items = document.items() if isinstance(document, dict) else enumerate(document)
    for key, value in items:
        if isinstance(value, dict | list):
            yield from places(value, (*path, key))
        else:
            yield (*path, key)


def changed(document: Any, path: tuple[Any, ...], value: Any) -> Any:
    """The document with one value replaced, or taken out."""
    result = copy.deepcopy(document)
    inner = result
    for step in path[:-1]:
        inner = inner[step]
    if value == "take out":
        del inner[path[-1]]
    else:
        inner[path[-1]] = value
    return result


def made(site: Site) -> tuple[Charge, dict[str, bytes]]:
    """A release: its charge, and the sections of its file."""
    asked = site.request()
    with site.create() as ledger:
        charge = entries.decode(ledger.entry_bytes(ledger.charge(asked).seq))
    assert isinstance(charge, Charge)
    release = container.decode(
        site.payload(asked),
        kind="wgs",
        version=1,
        section_names=("manifest", "signature", "integers"),
        max_bytes=1 << 20,
    )
    return charge, release


def check_statistics(data: bytes, charge: Charge) -> None:
    received_files._check_statistics(data, charge, "plant-a")


def test_a_manifest_of_any_values_is_refused_in_our_words(site: Site) -> None:
    charge, release = made(site)
    check_statistics(container.encode("wgs", 1, release), charge)
    hold_against(release, "wgs", lambda data: check_statistics(data, charge))


def hold_against(sections: dict[str, bytes], kind: str, check: Callable[[bytes], None]) -> None:
    """Change any value of a file's manifest to any other."""
    document = json.loads(sections["manifest"])
    paths = sorted(places(document), key=repr)

    @fuzzed
    @given(st.sampled_from(paths), st.sampled_from([*HOSTILE, "take out"]))
    def refuse(path: tuple[Any, ...], value: Any) -> None:
        other = changed(document, path, value)
        data = container.encode(kind, 1, {**sections, "manifest": rfc8785.dumps(other)})
        try:
            check(data)
        except WgError:
            return
        # What is not compared may be anything: no figure follows from it.
        assert other == document or path[0] in UNUSED, path

    refuse()


@pytest.mark.parametrize(
    "manifest", [b"[" * 100_000, b"[" * 100_000 + b"]" * 100_000, b'"' + b"\\u0000" * 1000 + b'"']
)
def test_a_manifest_that_nests_deeply_is_refused(manifest: bytes) -> None:
    with pytest.raises(DecodeError, match="manifest"):
        received_files.read_manifest(manifest)


def test_a_manifest_or_file_beyond_its_limit_is_refused_unread(tmp_path: Path) -> None:
    limit = statistics_file.MANIFEST_BYTES_LIMIT
    with pytest.raises(DecodeError, match="at most"):
        received_files.read_manifest(b" " * (limit + 1))
    assert limit == received_files.MANIFEST_LIMIT


def test_a_servers_record_of_any_values_is_refused_in_our_words(
    site: Site, exported: Exported
) -> None:
    with site.create() as ledger:
        exported.saw("weightgate/plant-a/0011", site.key, site.cosign(ledger))
    document = json.loads((exported.folder / auditor_record.SITES_FILE).read_bytes())
    paths = sorted(places(document), key=repr)

    @fuzzed
    @given(st.sampled_from(paths), st.sampled_from([*HOSTILE, "take out"]))
    def refuse(path: Any, value: Any) -> None:
        try:
            found = auditor_record.decode_server_record(
                rfc8785.dumps(changed(document, path, value))
            )
        except DecodeError:
            return
        assert (
            auditor_record.decode_server_record(auditor_record.encode_server_record(found)) == found
        )

    refuse()
