"""Taking contributions into the zoo: whose they are, whether they hold, and whether they fit."""

from pathlib import Path

from wg_common import catalogue
from wg_common.catalogue import HEAD_BIAS, HEAD_WEIGHT
from wg_common.nets.encoder import module as encoders
from wg_core import atomic
from wg_core.errors import ConfigError, DataError, VerificationError
from wg_core.wire import canonical, contribution_file, protocol, signing
from wg_server.site.home import ServerHome
from wg_server.store.sites import Store
from wg_server.zoo import contributions
from wg_server.zoo.contributions import SUFFIX, StoredContribution, Tensors
from wg_server.zoo.plan import SourcePlan, ZooPlan
from wg_server.zoo.task_spec import CONTRIBUTIONS


def take_in(home: ServerHome, plan: ZooPlan, encoder: str) -> int:
    """Verify and keep every contribution that the plan names and the zoo does not have.

    All are verified before the first is written.

    Returns:
        How many were taken in now.

    Raises:
        ConfigError: The site of a file is not known, or not enrolled.
        DataError: A folder is missing or has no such file.
        DecodeError: A file is not a contribution.
        VerificationError: It does not hold, or does not fit this zoo.
    """
    wanted = [source for source in plan.sources if source.kind == CONTRIBUTIONS]
    if not wanted:
        return 0
    known = {one.sha256 for one in contributions.stored(home.zoo)}
    new: dict[str, tuple[StoredContribution, bytes]] = {}
    dimension = 0
    with Store.open(home) as store:
        for source in wanted:
            for path in _files(source):
                data = atomic.read_bytes(path, limit=protocol.CONTRIBUTION_LIMIT)
                name = canonical.sha256_hex(data)
                if name in known or name in new:
                    continue
                manifest, tensors, record = _verify(store, source, path, data)
                # Loading takes a second, and most builds bring nothing new.
                dimension = dimension or encoders.load_encoder(home.read_encoder()).dimension
                _check_fit(path, manifest, tensors, plan.architecture, encoder, dimension)
                new[name] = (record, data)
    for record, data in new.values():
        contributions.keep(home.zoo, record, data)
    return len(new)


def _files(source: SourcePlan) -> list[Path]:
    folder = Path(source.path)
    found = sorted(folder.glob(f"*{SUFFIX}")) if folder.is_dir() else []
    if not found:
        raise DataError(f"{folder}: expected a folder of {SUFFIX} files")
    return found


def _verify(
    store: Store, source: SourcePlan, path: Path, data: bytes
) -> tuple[contribution_file.ContributionManifest, Tensors, StoredContribution]:
    site = store.site(contribution_file.FILE.read_manifest(data).site)
    if site.state != "enrolled":
        raise ConfigError(f"{path}: site {site.name} is {site.state}, expected enrolled")
    key = signing.public_from_bytes(bytes.fromhex(site.signing_key))
    try:
        manifest, tensors = contribution_file.decode_contribution(data, key)
    except VerificationError as error:
        raise VerificationError(f"{path}: {error}") from error
    record = StoredContribution(
        sha256=canonical.sha256_hex(data),
        name=source.name or source.kind,
        licence=source.licence,
        site=site.name,
        signing_key=site.signing_key,
        dataset=manifest.dataset,
        request_id=manifest.request_id,
        contribution_id=manifest.contribution_id,
        architecture=manifest.architecture,
        encoder=manifest.encoder,
        labels=manifest.labels,
        event=manifest.event,
        epsilon=manifest.epsilon,
        delta=manifest.delta,
        purpose=manifest.purpose,
    )
    return manifest, tensors, record


def _check_fit(
    path: Path,
    manifest: contribution_file.ContributionManifest,
    tensors: Tensors,
    architecture: str,
    encoder: str,
    dimension: int,
) -> None:
    """Check that a head fits this zoo."""
    classes = len(manifest.labels)
    for field, found, expected in (
        ("encoder", manifest.encoder, encoder),
        ("architecture", manifest.architecture, architecture),
        ("plan", manifest.plan, catalogue.HEAD_PLAN),
        (
            "tensors",
            {name: value.shape for name, value in tensors.items()},
            {HEAD_WEIGHT: (classes, dimension), HEAD_BIAS: (classes,)},
        ),
    ):
        if found != expected:
            raise VerificationError(f"{path}: {field} is {found}, this zoo's is {expected}")
