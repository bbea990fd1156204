"""Storage for received weights packages that wait to be applied, and for receipts.

A package is stored on disk before its receipt is sent, and applied afterwards. A plant that crashes
in between applies it at the next start, and a repeated delivery gets the same receipt and is
applied once. If another package arrives for the same request, the first one counts, and the receipt
names the first.

The server's key may change while a package waits: the key that signed the package is then stored
beside it, since nothing visible to the server may wait until the package is applied.
"""

import logging
import time
from dataclasses import dataclass
from pathlib import Path

from wg_core import atomic
from wg_core.errors import PolicyRefused, StorageError, VerificationError, reraise_os_errors
from wg_core.site.home import ClientHome
from wg_core.wire import canonical, flower_messages, protocol
from wg_core.wire.protocol import Delivery, Receipt

log = logging.getLogger(__name__)

DAILY_ARRIVALS_LIMIT = 64  # Most packages accepted within a day
REJECTED_PACKAGES_LIMIT = 8  # Most rejected packages kept for inspection; the oldest are deleted
REJECTED_BYTES_LIMIT = 4 << 30
"""Most bytes of rejected packages kept; the newest is always kept, whatever its size."""


@dataclass(frozen=True, slots=True)
class Inbox:
    """Folders of weights packages in a home: waiting, received (receipts) and rejected."""

    home: ClientHome

    @property
    def _received_folder(self) -> Path:
        return self.home.packages / "received"

    def store_package(self, delivery: Delivery, payload: bytes) -> Receipt:
        """Store a weights package on disk, at most once, and return its receipt.

        Raises:
            DecodeError: The request id is malformed.
            PolicyRefused: Too many packages arrived within a day.
            VerificationError: The payload does not match the delivery's hash.
        """
        flower_messages.check_request_id(delivery.request_id)
        if earlier := self.find_receipt(delivery.request_id):
            if earlier.package_sha256 != delivery.package_sha256:
                # A server restored from a backup made its package again; the first one counts.
                log.warning("request %s: another package than before", earlier.request_id)
            return earlier
        if self._count_recent_arrivals() >= DAILY_ARRIVALS_LIMIT:
            raise PolicyRefused(f"delivery: {DAILY_ARRIVALS_LIMIT} packages arrived within a day")
        if canonical.sha256_hex(payload) != delivery.package_sha256:
            raise VerificationError("delivery: the package does not match the hash beside it")
        atomic.write_private_bytes(
            self.home.waiting_packages / f"{delivery.request_id}.wgw", payload
        )
        receipt = Receipt(request_id=delivery.request_id, package_sha256=delivery.package_sha256)
        atomic.write_bytes(self._received_folder / delivery.request_id, canonical.encode(receipt))
        return receipt

    def _count_recent_arrivals(self) -> int:
        """Count the packages of the last day by their receipts."""
        day_seconds, current_time = 86_400, time.time()
        return sum(
            abs(current_time - path.stat().st_mtime) < day_seconds
            for path in self._received_folder.glob("*")
        )

    def find_receipt(self, request_id: str) -> Receipt | None:
        """Return the receipt of a request's weights package; None if no package was delivered."""
        path = self._received_folder / flower_messages.check_request_id(request_id)
        return canonical.read_record(Receipt, path) if path.is_file() else None

    def waiting_packages(self) -> list[Path]:
        """List the weights packages that wait to be applied, oldest first."""
        packages = self.home.waiting_packages.glob("*.wgw")
        paths = [path for path in packages if (self._received_folder / path.stem).is_file()]
        return sorted(paths, key=lambda path: path.stat().st_mtime_ns)

    def store_server_key(self, server_key_hex: str) -> None:
        """Store the server's key, hex, beside each waiting package, before a new key is pinned."""
        for path in self.waiting_packages():
            if not self._server_key_path(path).is_file():
                atomic.write_private_bytes(self._server_key_path(path), server_key_hex.encode())

    def read_stored_server_key(self, package_path: Path) -> str:
        """Return the key, hex, stored beside a waiting package; empty: use the pinned key."""
        key_path = self._server_key_path(package_path)
        if package_path.parent != self.home.waiting_packages or not key_path.is_file():
            return ""
        data = atomic.read_bytes(key_path, limit=protocol.MESSAGE_BYTES_LIMIT)
        return data.decode("ascii", "replace")

    @staticmethod
    def _server_key_path(package_path: Path) -> Path:
        return package_path.with_suffix(".key")

    def rejected_packages(self) -> list[Path]:
        """List the weights packages that could not be applied and were set aside."""
        return sorted((self.home.packages / "rejected").glob("*.wgw"))

    def delete_applied_package(self, path: Path) -> None:
        """Delete an applied weights package from the inbox; the home keeps its own copy.

        Raises:
            StorageError: The disk cannot be written; the package is then applied again, in vain.
        """
        with reraise_os_errors(StorageError, f"{path}: cannot be removed"):
            path.unlink(missing_ok=True)
            self._server_key_path(path).unlink(missing_ok=True)

    def reject_package(self, path: Path) -> Path:
        """Set aside a weights package that cannot be applied; return its new path.

        Raises:
            StorageError: The disk is full or cannot be written.
        """
        target = self.home.packages / "rejected" / path.name
        atomic.rename_file(path, target)
        with reraise_os_errors(StorageError, f"{target.parent}: cannot be written"):
            self._server_key_path(path).unlink(missing_ok=True)
            self._delete_old_rejected_packages(target)
        return target

    def _delete_old_rejected_packages(self, newest: Path) -> None:
        """Delete old rejected packages, so that a server cannot fill the disk."""
        files = [(path.stat(), path) for path in newest.parent.glob("*.wgw") if path != newest]
        files.sort(key=lambda entry: entry[0].st_mtime_ns, reverse=True)
        size = newest.stat().st_size
        for number, (status, path) in enumerate(files, 1):
            size += status.st_size
            if number >= REJECTED_PACKAGES_LIMIT or size > REJECTED_BYTES_LIMIT:
                path.unlink(missing_ok=True)
