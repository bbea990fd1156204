"""A signed file: a canonical manifest, its signer's signature of it, and one body.

Each kind of file is one ``SignedFile``: a row of names and limits. Whether the body is the one that
the manifest names by its hash is for each kind to check.
"""

from dataclasses import dataclass
from typing import Generic, TypeVar

from wg_core.wire import canonical, container, signing
from wg_core.wire.signing import PrivateKey, PublicKey

M = TypeVar("M")


@dataclass(frozen=True, slots=True, kw_only=True)
class SignedFile(Generic[M]):
    """A kind of signed file."""

    kind: str  # Of its container
    version: int  # Of its container
    body: str  # Name of the section behind manifest and signature
    limit: int  # Most bytes of a file
    manifest: type[M]
    manifest_limit: int  # Most bytes of a manifest
    what: str  # A manifest's name in messages
    context: str  # In which manifests are signed

    def pack(self, manifest: M, body: bytes, key: PrivateKey) -> bytes:
        """Sign and pack."""
        text = canonical.encode(manifest)
        signature = signing.sign(key, self.context, text)
        sections = {"manifest": text, "signature": signature, self.body: body}
        return container.encode(self.kind, self.version, sections)

    def sections(self, data: bytes) -> dict[str, bytes]:
        """Manifest, signature and body, as bytes.

        Raises:
            DecodeError: The bytes are no such file.
        """
        names = ("manifest", "signature", self.body)
        return container.decode(
            data, kind=self.kind, version=self.version, names=names, limit=self.limit
        )

    def read_manifest(self, data: bytes) -> M:
        """The manifest as it stands there; its signature is checked elsewhere.

        Raises:
            DecodeError: The bytes are no such file, or the manifest contradicts itself.
        """
        text = self.sections(data)["manifest"]
        return canonical.decode(self.manifest, text, subject=self.what, limit=self.manifest_limit)

    def verified(self, data: bytes, key: PublicKey) -> tuple[M, bytes]:
        """Manifest and body of a file whose signature holds.

        Raises:
            DecodeError: The bytes are no such file, or the manifest contradicts itself.
            VerificationError: The signature does not hold.
        """
        sections = self.sections(data)
        signing.verify(key, self.context, sections["manifest"], sections["signature"])
        return self.read_manifest(data), sections[self.body]
