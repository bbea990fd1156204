"""Re-enrolment of a home: with the same ledger, or with a new one after a compromise.

*Crash safety.* All new files are made in ``successor/`` below the home, with their ``client.yaml``,
before the home changes. Then each file is moved into place, ``client.yaml`` last. An interrupted
command is finished by running it again with the same token: it repeats the request with the same
keys, and the server answers again (``enrolment``).

*Changes.* ``enrol_again`` renews TLS and node keys, the certificate and the server's pins.
Statistics key, ledger and ledger key stay: earlier releases stay valid.
``replace_compromised_ledger`` renews all keys and the ledger: a new log under a new origin, whose
first entry holds the old log's last checkpoint and all of its spend. Data set, policy, the secret
of the data commitment and the encoder stay, unless the owner names another encoder. The old log is
kept as ``ledger-ORIGIN.sqlite`` for auditors. A home that shares the ledger of another home
(``budget_sharing``) can only use ``enrol_again``: its server receives the ledger as it is.
"""

import dataclasses
import logging
import shutil
from collections.abc import Callable

from wg_client.fleet import encoder_trial, enrolment
from wg_client.fleet.enrolment import Enrolment
from wg_client.fleet.home_initialisation import pinned_server_from_reply
from wg_core import atomic
from wg_core.errors import ConfigError, reraise_os_errors
from wg_core.ledger import database, entries, log_succession, shared_budget
from wg_core.ledger.budget_ledger import DatasetRegistration, Ledger
from wg_core.ledger.entries import Genesis, Predecessor
from wg_core.site import budget_sharing, encoder_pin, locks, pinned_server
from wg_core.site import config as configuration
from wg_core.site.config import ClientConfig
from wg_core.site.home import ClientHome
from wg_core.wire import canonical, protocol, signing

log = logging.getLogger(__name__)

EncoderPackageCheck = Callable[[bytes], None]  # Called with an encoder package; raises to refuse it


def enrol_again(home: ClientHome, token: str, *, encoder_hash: str | None = None) -> ClientConfig:
    """Enrol an initialised home again: new transport keys, the same ledger and budget.

    Returns the new configuration.

    Args:
        token: Join token for this home's site.
        encoder_hash: Hash of the encoder that the owner wants, if it is not the home's; see
            ``encoder_pin``.

    Raises:
        ConfigError: The home is not initialised, its node runs, or the token is of another site.
        VerificationError: The token is for another encoder than the owner confirmed or named.
        DecodeError, PeerError, VerificationError: Enrolment failed; see ``enrolment``.
    """

    def enrol(stage: ClientHome, config: ClientConfig, confirm: EncoderPackageCheck) -> Enrolment:
        if (stage.root / shared_budget.LEDGER_FILE).exists():
            _make_empty_folder(stage)  # left by an interrupted ``replace_compromised_ledger``
        shares_ledger = budget_sharing.share_budget_with_successor(home, stage)
        atomic.copy_file(home.signing_key, stage.signing_key, mode=atomic.PRIVATE_FILE_MODE)
        if not shares_ledger:
            atomic.copy_file(home.ledger_key, stage.ledger_key, mode=atomic.PRIVATE_FILE_MODE)
        return enrolment.enrol(stage, token, ledger_path=home.ledger, confirm_encoder=confirm)

    return _enrol_in_staging_home(home, token, encoder_hash, enrol)


def join_server(home: ClientHome, token: str, *, encoder_hash: str | None = None) -> ClientConfig:
    """Enrol a home that works alone: ledger and keys stay, and the snapshot if the encoder fits.

    Returns the new configuration. If the token names another encoder than the built-in one, the
    data set must be frozen again before anything can be released. Other errors: ``enrol_again``.

    Args:
        token: Join token for this home's site.
        encoder_hash: Hash of the encoder that the owner wants, if it is not the built-in one.

    Raises:
        ConfigError: The home is enrolled, or the token is of another site.
    """
    config = configuration.load(home)
    if config.pin is not None:
        raise ConfigError(
            f"{home.config}: enrolled with {config.server.name}; 'wg-client init --replace' enrols"
            " it again"
        )
    token_encoder = protocol.decode_join_token(token.strip()).encoder
    encoder_pin.check_owner_hash(encoder_hash, token_encoder)
    return enrol_again(home, token, encoder_hash=token_encoder)


def replace_compromised_ledger(
    home: ClientHome, token: str, reason: str, *, encoder_hash: str | None = None
) -> ClientConfig:
    """Replace a ledger whose key was lost or stolen; the new ledger inherits the spend.

    Returns the new configuration.

    Args:
        token: Join token for this home's site.
        reason: Reason for the replacement, which is written to the new ledger.
        encoder_hash: Hash of the encoder that the owner wants, if it is not the home's.

    Raises:
        ConfigError: The home is not initialised, its node runs, or the token is of another site.
        VerificationError: The token is for another encoder than the owner confirmed or named.
        DecodeError, PeerError, VerificationError: Enrolment failed, or the old ledger is not valid:
            then restore its newest valid copy or export first.
    """
    budget_sharing.check_holds_ledger(home, "giving up a ledger", next_command="init --replace")

    def enrol(stage: ClientHome, config: ClientConfig, confirm: EncoderPackageCheck) -> Enrolment:
        predecessor = log_succession.read_predecessor(home.ledger, reason)
        with Ledger.open(home.ledger) as old:
            commitment = old.dataset_commitment(config.data.name)
        if commitment is None:
            raise ConfigError(f"{home.ledger}: data set {config.data.name!r} is not on it")
        if not _holds_successor_ledger(stage, predecessor):
            _make_empty_folder(stage)
        enrolled_site = enrolment.enrol(
            stage,
            token,
            predecessor=predecessor,
            replaced_ledger_path=home.ledger,
            confirm_encoder=confirm,
        )
        with Ledger.open(stage.ledger, signing.load(stage.ledger_key)) as ledger:
            ledger.register_dataset(
                DatasetRegistration(
                    name=config.data.name,
                    commitment=commitment,
                    cap_epsilon=config.privacy.cap_epsilon,
                    cap_delta=config.privacy.cap_delta,
                )
            )
        return enrolled_site

    return _enrol_in_staging_home(home, token, encoder_hash, enrol)


def _enrol_in_staging_home(
    home: ClientHome,
    token: str,
    encoder_hash: str | None,
    enrol: Callable[[ClientHome, ClientConfig, EncoderPackageCheck], Enrolment],
) -> ClientConfig:
    """Enrol in a separate folder, unless an earlier call did; move its files into the home."""
    config = configuration.load(home)
    stage = ClientHome(home.root / "successor")
    with locks.lock_node(home), locks.lock_ledger(home):
        if not stage.config.exists():
            confirm = _encoder_check_for_token(home, config, token, encoder_hash)
            stage.create_private_folder()
            enrolled_site = enrol(stage, config, confirm)
            data = dataclasses.replace(
                config.data, encoder=canonical.sha256_hex(enrolled_site.encoder_package)
            )
            server = pinned_server_from_reply(enrolled_site.reply)
            configuration.save(stage, dataclasses.replace(config, pin=server, data=data))
        return _move_into_home(home, stage)


def _move_into_home(home: ClientHome, staging_home: ClientHome) -> ClientConfig:
    """Move the new files of an enrolment into the home one by one, ``client.yaml`` last."""
    shares_ledger = shared_budget.read_shared_budget(home.root) is not None
    _set_aside_releases(home, staging_home)
    if not shares_ledger and (staging_home.ledger.exists() or not home.ledger.exists()):
        if home.ledger.exists():
            _rename_old_ledger(home)
        for path in staging_home.root.glob("ledger.sqlite*"):
            atomic.rename_file(path, home.root / path.name)
    for path in sorted(staging_home.root.glob("*/*.pem")):
        atomic.rename_file(path, home.root / path.relative_to(staging_home.root))
    if staging_home.encoder.exists():
        atomic.rename_file(staging_home.encoder, home.encoder)
    if shared_budget.read_shared_budget(staging_home.root) is not None:
        atomic.rename_file(
            staging_home.root / shared_budget.SHARED_BUDGET_FILE,
            home.root / shared_budget.SHARED_BUDGET_FILE,
        )
    # A copy: a resumed call compares the witness again.
    atomic.copy_file(staging_home.pinned_server, home.pinned_server, mode=atomic.PRIVATE_FILE_MODE)
    atomic.rename_file(staging_home.config, home.config)
    shutil.rmtree(staging_home.root)
    return configuration.load(home)


def _rename_old_ledger(home: ClientHome) -> None:
    with Ledger.open(home.ledger) as old:
        name = enrolment.replaced_ledger_file_name(old.origin)
    for path in home.root.glob("ledger.sqlite*"):
        atomic.rename_file(path, home.root / path.name.replace("ledger.sqlite", name))
    log.info("the old ledger is kept as %s", name)


def _set_aside_releases(home: ClientHome, staging_home: ClientHome) -> None:
    """Set aside stored release files if the witness or ledger that signed their proofs changed.

    They are made again on demand; the released bytes themselves are on the ledger.
    """
    if not home.pinned_server.exists():
        return
    key = pinned_server.load(staging_home).witness_key
    budget_place = shared_budget.read_shared_budget(staging_home.root)
    ledger = (
        staging_home.ledger.exists()
        if budget_place is None
        else budget_place != shared_budget.read_shared_budget(home.root)
    )
    if key == pinned_server.load(home).witness_key and not ledger:
        return
    home.archive_outbox(f"before-witness-{key[:16]}")


def _encoder_check_for_token(
    home: ClientHome, config: ClientConfig, token: str, encoder_hash: str | None
) -> EncoderPackageCheck:
    """Check a token before it is spent; return a function that tests the delivered encoder."""
    join_token = protocol.decode_join_token(token.strip())
    if join_token.site != config.site:
        raise ConfigError(
            f"join token: for site {join_token.site!r}, this home is {config.site!r}; ask for a"
            " token of this name"
        )
    encoder_pin.check_encoder_unchanged(config.data.encoder, join_token.encoder, encoder_hash)

    def look(package: bytes) -> None:
        # Enrolment has checked the package against the token.
        if join_token.encoder != config.data.encoder:
            encoder_trial.try_and_load_encoder(package)

    return look


def _holds_successor_ledger(staging_home: ClientHome, predecessor: Predecessor) -> bool:
    """Return whether a folder's ledger names ``predecessor`` as the ledger that it replaces."""
    if not database.holds_ledger(staging_home.root / shared_budget.LEDGER_FILE):
        return False
    with Ledger.open(staging_home.ledger) as ledger:
        genesis = entries.decode(ledger.entry_bytes(0))
    return isinstance(genesis, Genesis) and genesis.predecessor == predecessor


def _make_empty_folder(staging_home: ClientHome) -> None:
    """Delete a folder with the remains of an earlier attempt, and make it anew, empty."""
    with reraise_os_errors(ConfigError, f"{staging_home.root}: cannot be made"):
        shutil.rmtree(staging_home.root)
    staging_home.create_private_folder()
