"""A witness over HTTPS, written from c2sp.org/tlog-witness alone: nothing of ours but the keys.

It is simple on purpose: one class with a memory, RFC 6962's consistency check by recursion, and
the standard library's HTTP server.
"""

from __future__ import annotations

import base64
import datetime
import hashlib
import ssl
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from ipaddress import ip_address
from pathlib import Path

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.x509.oid import NameOID

EMPTY = hashlib.sha256(b"").digest()


@dataclass
class SpecWitness:
    """What the specification makes a witness do."""

    name: str
    logs: dict[str, bytes]
    key: Ed25519PrivateKey = field(default_factory=Ed25519PrivateKey.generate)
    seen: dict[str, tuple[int, bytes]] = field(default_factory=dict)
    statuses: list[int] = field(default_factory=list)
    answer: tuple[int, bytes] | None = None
    lock: threading.Lock = field(default_factory=threading.Lock)

    @property
    def public_key(self) -> bytes:
        return self.key.public_key().public_bytes_raw()

    def add_checkpoint(self, body: bytes) -> tuple[int, str, bytes]:
        """Status, content type and body of the answer."""
        with self.lock:
            status, kind, reply = self._add(body)
        if self.answer is not None:
            status, reply = self.answer
        self.statuses.append(status)
        return status, kind, reply

    def _add(self, body: bytes) -> tuple[int, str, bytes]:
        head, _, rest = body.partition(b"\n\n")
        lines = head.decode().split("\n")
        old = int(lines[0].removeprefix("old "))
        proof = [base64.b64decode(line) for line in lines[1:]]
        text, _, signatures = rest.partition(b"\n\n")
        text += b"\n"
        origin, size_text, root_text = text.decode().split("\n")[:3]
        size, root = int(size_text), base64.b64decode(root_text)
        if origin not in self.logs:
            return 404, "text/plain", b"unknown log\n"
        if not self._signed(origin, text, signatures.decode()):
            return 403, "text/plain", b"no known signature\n"
        if old > size:
            return 400, "text/plain", b"old size above new\n"
        known_size, known_root = self.seen.get(origin, (0, EMPTY))
        if old != known_size:
            return 409, "text/x.tlog.size", f"{known_size}\n".encode()
        if old == size and root != known_root:
            return 409, "text/x.tlog.size", f"{known_size}\n".encode()
        if not consistent(old, size, known_root, root, proof):
            return 422, "text/plain", b"inconsistent\n"
        self.seen[origin] = (size, root)
        return 200, "text/plain", self.cosign(text)

    def cosign(self, text: bytes) -> bytes:
        current_time = int(time.time())
        message = b"cosignature/v1\ntime %d\n" % current_time + text
        signature = current_time.to_bytes(8, "big") + self.key.sign(message)
        identifier = hashlib.sha256(self.name.encode() + b"\n\x04" + self.public_key).digest()[:4]
        line = base64.b64encode(identifier + signature).decode()
        return f"— {self.name} {line}\n".encode()

    def _signed(self, origin: str, text: bytes, signatures: str) -> bool:
        key = self.logs[origin]
        identifier = hashlib.sha256(origin.encode() + b"\n\x01" + key).digest()[:4]
        for line in signatures.splitlines():
            _, name, blob = line.split(" ")
            raw = base64.b64decode(blob)
            if name != origin or raw[:4] != identifier:
                continue
            try:
                Ed25519PublicKey.from_public_bytes(key).verify(raw[4:], text)
            except InvalidSignature:
                return False
            return True
        return False


def consistent(old: int, new: int, old_root: bytes, new_root: bytes, proof: list[bytes]) -> bool:
    """RFC 6962, 2.1.2: the proof rebuilds both roots."""
    if old == 0:
        return not proof
    if old == new:
        return not proof and old_root == new_root
    left = list(proof)

    def rebuild(m: int, n: int, whole: bool) -> tuple[bytes, bytes]:
        """Roots over the first m and over all n leaves of a subtree."""
        if m == n:
            if whole:
                return old_root, old_root
            last = left.pop()
            return last, last
        k = 1 << (n - 1).bit_length() - 1
        sibling = left.pop()
        if m <= k:
            before, after = rebuild(m, k, whole)
            return before, node(after, sibling)
        before, after = rebuild(m - k, n - k, whole=False)
        return node(sibling, before), node(sibling, after)

    try:
        found = rebuild(old, new, whole=True)
    except IndexError:
        return False
    return found == (old_root, new_root) and not left


def node(left: bytes, right: bytes) -> bytes:
    return hashlib.sha256(b"\x01" + left + right).digest()


def certificate(folder: Path) -> tuple[Path, Path]:
    """A certificate for loopback that signs itself, and its key."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "witness")])
    current_time = datetime.datetime.now(datetime.UTC).replace(microsecond=0)
    found = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(current_time - datetime.timedelta(hours=1))
        .not_valid_after(current_time + datetime.timedelta(hours=3))
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(
            x509.SubjectAlternativeName([x509.IPAddress(ip_address("127.0.0.1"))]), critical=False
        )
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .sign(key, hashes.SHA256())
    )
    cert, private = folder / "witness.pem", folder / "witness.key"
    cert.write_bytes(found.public_bytes(serialization.Encoding.PEM))
    private.write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
    )
    return cert, private


@contextmanager
def serving(witness: SpecWitness, folder: Path) -> Iterator[tuple[str, Path]]:
    """The witness on loopback: its URL, and the certificate to trust."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["content-length"]))
            known = self.path == "/witness/add-checkpoint"
            status, kind, reply = (
                witness.add_checkpoint(body) if known else (404, "text/plain", b"no such path\n")
            )
            self.send_response(status)
            self.send_header("content-type", kind)
            self.send_header("content-length", str(len(reply)))
            self.end_headers()
            self.wfile.write(reply)

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    cert, private = certificate(folder)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(cert, private)
    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        server.socket = context.wrap_socket(server.socket, server_side=True)
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield f"https://127.0.0.1:{server.server_address[1]}/witness", cert
        finally:
            server.shutdown()
            thread.join()
