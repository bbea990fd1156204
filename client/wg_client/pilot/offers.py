"""An operator's offer, tried on a plant's own records in its own folds."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from wg_client.data.recipient import Features
from wg_client.data.site_data import SiteData
from wg_client.methods.package import read_package
from wg_client.selection import defects
from wg_client.selection.defects import Share
from wg_client.selection.model_selection import select_model
from wg_common import catalogue
from wg_common.modalities.registry import modality
from wg_common.offer import OFFER_LIMIT, Offer, OpenedOffer, decode
from wg_common.weights_package import Candidate, WeightsManifest
from wg_core import atomic
from wg_core.errors import DecodeError, VerificationError
from wg_core.site.acceptance import AcceptanceConfig
from wg_core.wire.data_sheet import DataSheet

if TYPE_CHECKING:  # torch: seconds to import, only when needed
    from wg_common.nets.encoder.module import Encoder


@dataclass(frozen=True, slots=True, kw_only=True)
class Trial:
    """Result of an offer on a plant's records.

    Attributes:
        server: Name of the server.
        kinds: Number of kinds of plants whose weights were tried.
        pays: Whether free weights were kept, by the rule that ``apply`` follows.
        share: Right answers of the kept model and of local-only; None: not judged.
        sites: Number of sites that have released most of the plant's class names.
        machine: Whether networks are made from the plant's data sheet, once it has joined.
    """

    server: str
    kinds: int
    pays: bool
    share: Share | None
    sites: int
    machine: bool


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Recipient:
    """A plant without a home; see ``recipient.Recipient``."""

    data: SiteData
    features: Features
    encoder: str
    encoder_package: bytes
    acceptance: AcceptanceConfig
    site: str = "simulated"
    signing_key: str = ""
    commitment: str = ""


def read_offer(path: Path) -> OpenedOffer:
    """Open an offer; ``DecodeError`` and ``VerificationError`` name the file."""
    try:
        return decode(atomic.read_bytes(path, limit=OFFER_LIMIT))
    except (DecodeError, VerificationError) as error:
        raise type(error)(f"{path}: {error}") from error


def try_offer(
    offer_file: OpenedOffer,
    data: SiteData,
    local: NDArray[np.float32],
    encoder: Encoder,
    sheet: DataSheet | None,
) -> Trial:
    """Follow the rule of ``apply`` on what an offer holds.

    Args:
        data: The plant's records.
        local: Local features of them, ``[n, D]``, by the offer's encoder.
        encoder: That encoder.
        sheet: Data sheet of the plant's machine, if it has one.

    Raises:
        DecodeError: Tensors of the offer are not those of heads.
    """
    offer, kind = offer_file.offer, modality(data.modality)
    classes = len(data.label_names)
    usable = [n for n, family in enumerate(offer.kinds) if len(family.labels) >= classes]
    pays, share = False, None
    if usable and (data.labels >= 0).any():
        candidates = tuple(
            Candidate(
                name=f"{catalogue.ANY_FAMILY}-{n}",
                source=catalogue.ANY_FAMILY,
                architecture=kind.head,
                inputs="raw",
            )
            for n in usable
        )
        manifest = _manifest(offer, data, candidates)
        plant = _Recipient(
            data=data,
            features=Features(
                local=local,
                dimension=encoder.dimension,
                scaled=encoder.scaled_dimension,
                clip_radius=encoder.clip_radius,
            ),
            encoder=offer.encoder,
            encoder_package=offer_file.encoder,
            acceptance=AcceptanceConfig(standard_errors=kind.standard_errors),
        )
        tensors = {c.name: offer_file.tensors[n] for c, n in zip(candidates, usable, strict=True)}
        records, package = read_package(plant, manifest, tensors)
        outcome = select_model(records, package, plant.acceptance, data.label_names)
        pays = outcome.accepted
        share = defects.figures(outcome, data.label_names, ()).named
    return Trial(
        server=offer.server,
        kinds=len(usable),
        pays=pays,
        share=share,
        sites=offer.sites_with(data.label_names),
        machine=sheet is not None and sheet.kind in offer.machines,
    )


def _manifest(offer: Offer, data: SiteData, candidates: tuple[Candidate, ...]) -> WeightsManifest:
    """Manifest of a package that would hold an offer's heads."""
    return WeightsManifest(
        package_id="0" * 32,
        request_id="",
        site="simulated",
        encoder=offer.encoder,
        generator="",
        labels=data.label_names,
        own_release="",
        pool_root="",
        pool_releases=0,
        candidates=candidates,
        tensors_sha256=offer.tensors,
        created=offer.created,
        expires=offer.created,
    )
