from __future__ import annotations

import hashlib
import os
from pathlib import Path

import pytest

from wg_core.errors import DecodeError, PolicyRefused, VerificationError
from wg_core.fleet import inbox as inboxes
from wg_core.fleet.inbox import Inbox
from wg_core.site.home import ClientHome
from wg_core.wire.protocol import Delivery

PACKAGE = b"a package"


def delivery(request_id: str = "0" * 32, package: bytes = PACKAGE) -> Delivery:
    return Delivery(
        request_id=request_id, site="a", package_sha256=hashlib.sha256(package).hexdigest()
    )


@pytest.fixture
def inbox(tmp_path: Path) -> Inbox:
    return Inbox(ClientHome(tmp_path))


def test_a_package_waits_until_it_is_done(inbox: Inbox) -> None:
    receipt = inbox.store_package(delivery(), PACKAGE)
    (path,) = inbox.waiting_packages()
    assert path.read_bytes() == PACKAGE
    inbox.delete_applied_package(path)
    assert inbox.waiting_packages() == []
    assert inbox.find_receipt("0" * 32) == receipt


def test_a_repeated_delivery_gets_the_same_receipt_and_waits_once(inbox: Inbox) -> None:
    first = inbox.store_package(delivery(), PACKAGE)
    inbox.delete_applied_package(inbox.waiting_packages()[0])
    assert inbox.store_package(delivery(), PACKAGE) == first
    assert inbox.waiting_packages() == []


def test_another_package_under_the_same_request_gets_the_receipt_of_the_first(inbox: Inbox) -> None:
    first = inbox.store_package(delivery(), PACKAGE)
    assert inbox.store_package(delivery(package=b"other"), b"other") == first
    assert [path.read_bytes() for path in inbox.waiting_packages()] == [PACKAGE]


def test_a_package_that_is_not_the_one_named_is_refused(inbox: Inbox) -> None:
    with pytest.raises(VerificationError, match="hash"):
        inbox.store_package(delivery(), b"other")
    assert inbox.waiting_packages() == [] and inbox.find_receipt("0" * 32) is None


@pytest.mark.parametrize("request_id", ["../../../etc/passwd", "", "x" * 32, "0" * 32 + "/.."])
def test_a_request_id_cannot_leave_the_folder(inbox: Inbox, request_id: str) -> None:
    with pytest.raises(DecodeError):
        inbox.store_package(delivery(request_id), PACKAGE)


def test_packages_are_applied_in_the_order_of_arrival(inbox: Inbox) -> None:
    ids = [f"{number:032x}" for number in (3, 1, 2)]
    for request_id in ids:
        inbox.store_package(delivery(request_id), PACKAGE)
    assert [path.stem for path in inbox.waiting_packages()] == ids


def test_a_rejected_package_is_kept_apart(inbox: Inbox) -> None:
    inbox.store_package(delivery(), PACKAGE)
    kept = inbox.reject_package(inbox.waiting_packages()[0])
    assert kept.read_bytes() == PACKAGE and inbox.waiting_packages() == []


def test_half_a_delivery_is_none(inbox: Inbox, tmp_path: Path) -> None:
    # The process died after the package was written and before its receipt was.
    folder = tmp_path / "packages" / "waiting"
    folder.mkdir(parents=True)
    (folder / f"{'0' * 32}.wgw").write_bytes(PACKAGE)
    assert inbox.waiting_packages() == []
    inbox.store_package(delivery(), PACKAGE)
    assert len(inbox.waiting_packages()) == 1


def test_a_server_fills_no_disk_with_packages(
    inbox: Inbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(inboxes, "DAILY_ARRIVALS_LIMIT", 2)
    for number in range(2):
        inbox.store_package(delivery(f"{number:032x}"), PACKAGE)
        inbox.delete_applied_package(inbox.waiting_packages()[0])
    with pytest.raises(PolicyRefused, match="within a day"):
        inbox.store_package(delivery(f"{2:032x}"), PACKAGE)
    inbox.store_package(delivery(f"{1:032x}"), PACKAGE)  # a repeated delivery
    for received in (inbox.home.packages / "received").iterdir():
        os.utime(received, (0, 0))
    inbox.store_package(delivery(f"{2:032x}"), PACKAGE)


def test_a_waiting_package_keeps_the_key_under_which_it_arrived(inbox: Inbox) -> None:
    inbox.store_package(delivery(), PACKAGE)
    (first,) = inbox.waiting_packages()
    inbox.store_server_key("aa")
    inbox.store_package(delivery("1" * 32), PACKAGE)
    inbox.store_server_key("bb")
    second = inbox.waiting_packages()[1]
    assert (inbox.read_stored_server_key(first), inbox.read_stored_server_key(second)) == (
        "aa",
        "bb",
    )
    inbox.reject_package(first)
    inbox.delete_applied_package(second)
    assert not list(inbox.home.waiting_packages.iterdir())


def test_rejected_packages_are_few_and_the_newest(
    inbox: Inbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    def reject(number: int) -> Path:
        body = bytes([number]) * 10
        inbox.store_package(delivery(f"{number:032x}", body), body)
        (path,) = inbox.waiting_packages()
        os.utime(path, ns=(number, number))
        return inbox.reject_package(path)

    paths = [reject(number) for number in range(20)]
    assert [path.exists() for path in paths] == [False] * 12 + [True] * 8
    monkeypatch.setattr(inboxes, "REJECTED_BYTES_LIMIT", 25)
    newest = reject(20)
    assert newest.exists() and len(list(newest.parent.iterdir())) == 2
    assert inbox.find_receipt(f"{0:032x}") is not None  # it is not asked for again
