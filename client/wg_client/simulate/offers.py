"""Trial of an operator's offer on a plant's own records, out of fold."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from wg_client.data.recipient_plant import EncodedRecords
from wg_client.data.site_data import SiteData
from wg_client.methods.package import prepare_package
from wg_client.selection import defects
from wg_client.selection.defects import DetectionRate
from wg_client.selection.model_selection import select_model
from wg_common import catalogue
from wg_common.catalogue import CandidateSource
from wg_common.inference.family_head import FeatureLayout
from wg_common.inference.hostile_tensors import split_prefix
from wg_common.modalities.registry import find_modality
from wg_common.modalities.windows import Windows
from wg_common.nets import family_network
from wg_common.offer import OFFER_BYTES_LIMIT, Offer, OfferedFamily, OpenedOffer, decode_offer
from wg_common.weights_package import Candidate, WeightsManifest
from wg_core import atomic
from wg_core.errors import DecodeError, VerificationError
from wg_core.site.acceptance import AcceptanceConfig
from wg_core.wire.data_sheet import DataSheet

if TYPE_CHECKING:  # torch: seconds to import, only when needed
    from wg_common.nets.encoder.projected_trunk import Encoder


@dataclass(frozen=True, slots=True, kw_only=True)
class OfferTrial:
    """Result of trying an operator's offer on a plant's records.

    Attributes:
        server: Name of the server.
        kinds: Number of kinds of plants whose weights were tried.
        pays: True if the rule of ``apply`` kept weights of the offer instead of local-only.
        share: Accuracy of the kept model and of local-only; None: not measured.
        sites: Largest number n such that more than half of the plant's class names were each
            released by at least n sites.
        machine: True if the server would make networks from the plant's data sheet.
        sheets: Kinds of machine for which the server makes networks from a data sheet; empty if the
            plant has a sheet, or if its records are not windows.
    """

    server: str
    kinds: int
    pays: bool
    share: DetectionRate | None
    sites: int
    machine: bool
    sheets: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _PilotRecipient:
    """Plant without a home, on whose records an offer's weights are tried: a ``RecipientPlant``."""

    data: SiteData
    features: EncodedRecords
    layout: FeatureLayout
    encoder_sha256: str
    encoder_package: bytes
    acceptance_policy: AcceptanceConfig
    site_name: str = "simulated"
    server_public_key: str = ""
    commitment: str = ""


def read_offer(path: Path) -> OpenedOffer:
    """Open an offer; ``DecodeError`` and ``VerificationError`` name the file."""
    try:
        return decode_offer(atomic.read_bytes(path, limit=OFFER_BYTES_LIMIT))
    except (DecodeError, VerificationError) as error:
        raise type(error)(f"{path}: {error}") from error


def try_offer(
    offer_file: OpenedOffer,
    data: SiteData,
    local_features: NDArray[np.float32],
    encoder: Encoder,
    data_sheet: DataSheet | None,
) -> OfferTrial:
    """Try an operator's offer on a plant's records by the rules of ``wg-client apply``.

    Args:
        local_features: Local features of the records by ``encoder``, the offer's, ``[n, D]``.
        data_sheet: Data sheet of the plant's machine; None: it has none.

    Raises:
        DecodeError: Tensors of the offer are not those of heads.
    """
    offer, kind = offer_file.offer, find_modality(data.modality)
    source, usable = _match_offered_families(offer.kinds, data.label_names)
    pays, share = False, None
    if usable and (data.labels >= 0).any():
        candidates = tuple(
            Candidate(
                name=f"{source}-{n}",
                source=source,
                architecture=kind.head_architecture,
                inputs="raw",
            )
            for n in usable
        )
        manifest = _offer_manifest(offer, data, candidates)
        plant = _PilotRecipient(
            data=data,
            features=EncodedRecords(
                local_features=local_features,
                released_width=encoder.dimension,
                scaled_width=encoder.scaled_dimension,
                clip_radius=encoder.clip_radius,
            ),
            layout=FeatureLayout(encoder.scaled_dimension, encoder.local_block_sizes),
            encoder_sha256=offer.encoder,
            encoder_package=offer_file.encoder_package,
            acceptance_policy=AcceptanceConfig(standard_errors=kind.default_standard_errors),
        )
        tensors = {
            candidate.name: _select_class_rows(offer_file.tensors[n], rows, kind.family_network)
            for candidate, (n, rows) in zip(candidates, usable.items(), strict=True)
        }
        records, package = prepare_package(plant, manifest, tensors)
        outcome = select_model(records, package, plant.acceptance_policy, data.label_names)
        pays = outcome.keeps_delivered_model
        share = defects.measure_detection_rates(outcome, data.label_names, ()).correct_rate
    return OfferTrial(
        server=offer.server,
        kinds=len(usable),
        pays=pays,
        share=share,
        sites=offer.median_site_count(data.label_names),
        machine=data_sheet is not None and data_sheet.kind in offer.machines,
        sheets=tuple(offer.machines) if data_sheet is None and kind.name == Windows.name else (),
    )


def _match_offered_families(
    families: Sequence[OfferedFamily], labels: Sequence[str]
) -> tuple[CandidateSource, dict[int, NDArray[np.int64]]]:
    """Match offered kinds of plants to class names; return their source, and class rows by kind.

    A kind matches if it has more than half of the names literally. If none does, all kinds with
    enough classes are returned, with all their rows. A server also recognises names in other words.
    """
    plant_names = [name.strip().casefold() for name in labels]
    all_rows, same_names = {}, {}
    for n, kind in enumerate(families):
        if len(kind.labels) < len(plant_names):
            continue
        all_rows[n] = np.arange(len(kind.labels))
        places = {name.strip().casefold(): row for row, name in enumerate(kind.labels)}
        own_rows = [places.get(name) for name in plant_names]
        spare_rows = iter(sorted(set(range(len(kind.labels))) - set(own_rows)))
        if sum(row is not None for row in own_rows) > len(plant_names) / 2:
            rows = [next(spare_rows) if row is None else row for row in own_rows]
            same_names[n] = np.array(rows, dtype=np.int64)
    if same_names:
        return catalogue.SAME_FAMILY_SOURCE, same_names
    return catalogue.ANY_FAMILY_SOURCE, all_rows


def _select_class_rows(
    tensors: Mapping[str, NDArray[np.float32]], rows: NDArray[np.int64], architecture: str
) -> dict[str, NDArray[np.float32]]:
    """Return a head's tensors with only the given class rows, in their order."""
    head, network = split_prefix(tensors, family_network.TENSOR_PREFIX)
    shapes = [head[name].shape for name in ("weight", "bias") if name in head]
    if len(shapes) < 2 or shapes[1] != shapes[0][:1] or not shapes[1] or rows.max() >= shapes[1][0]:
        raise DecodeError("offer: a kind of plants lacks the head of its classes")
    delivered_network = family_network.unpack_network(network, architecture, len(head["bias"]))
    part = None if delivered_network is None else delivered_network.select_classes(rows)
    own_tensors = {**head, "weight": head["weight"][rows], "bias": head["bias"][rows]}
    return own_tensors | family_network.pack_network(part)


def _offer_manifest(
    offer: Offer, data: SiteData, candidates: tuple[Candidate, ...]
) -> WeightsManifest:
    """Build the manifest of a package that would hold an offer's heads."""
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
