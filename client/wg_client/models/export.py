"""Export of models for other programs, as safetensors or ONNX; neither can carry code.

A model that was trained on the plant's records reveals something about them that no ledger entry
accounts for, and its metadata say so. A *private head* (``export_private_head``) was trained by
``wg_common.nets.private_head``, charged like a release, and uses only the released features. Both
files hold the *whole* model: the frozen encoder, a network alongside it if there is one, and the
head.

The ONNX model has the outputs of ``wg-client predict``: ``label`` (its index), ``probability``,
``distance`` (from the plant's records; the metadata have its limits, ``new_above`` and
``pass_within``) and ``verdict`` (an index into ``verdicts``, at the ``threshold`` and
``pass_limit`` (log odds) of the metadata), with all ``probabilities`` and ``logits``. The input is
a batch ``[n, 3, p, p]`` of pixel values 0 to 255, prepared as ``RESIZING_DESCRIPTION`` says; the
metadata have labels, p, the resizing and provenance. A private head has ``logits`` only, since the
novelty test is made of records.

A head for sensor windows takes views ``[n, C, 1 + S, L]``, as
``wg_common.nets.encoder.window_trunk.window_views`` makes them from a window. In ONNX only n is
free; the other sizes are those of the plant's first window (of a private head: those in the
settings, or stated), and are in the metadata. A network
beside the encoder of windows has a second input, ``prepared``: the result of
``wg_common.nets.network.prepare_batch`` for the architecture in the metadata (``network``). A head
for texts takes vectors ``[n, 2560]``, as ``TextTrunk.prepare`` of
``wg_common.nets.encoder.text_trunk`` makes them; the metadata name the package (``trunk``). Each
further trunk of the encoder has an input of its name, and ``inputs`` of the metadata the shape of
each: the same picture at another size ``[n, 3, q, q]``, token ids ``[n, 128]`` of
``wg_e5.network.prepare_texts``, or raw windows ``[n, C, T]`` for the trunk fitted at the plant.
"""

from __future__ import annotations

import json
import logging
import tempfile
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Literal, cast

import numpy as np
import safetensors.torch
import torch
from torch import nn

from wg_client.data import plant_data as plants
from wg_client.fitting.sure_calls import largest_supported_probability
from wg_client.models import store
from wg_client.models.calls import LOOK, PASS, REJECT, VerdictRule
from wg_client.models.manifest import ModelsManifest
from wg_client.models.novelty import (
    LARGEST_NEW_LIKENESS,
    LEAST_PASS_LIKENESS,
    SMALLEST_DISTANCE,
    NoveltyTest,
    hash_signs,
)
from wg_client.models.pass_rule import LIMIT_MARGIN
from wg_client.models.predict import load_encoder, load_network
from wg_common.catalogue import HEAD_BIAS_TENSOR, HEAD_WEIGHT_TENSOR, find_architecture
from wg_common.modalities.base import Modality, Record
from wg_common.modalities.registry import find_modality
from wg_common.nets import network
from wg_common.nets.assembly import HeadModel, build_head_model
from wg_common.nets.encoder.projected_trunk import Encoder
from wg_common.nets.encoder.trunk import EncoderTrunk
from wg_common.nets.network import NetworkTrunks
from wg_core import atomic
from wg_core import snapshot as snapshots
from wg_core.errors import ConfigError, DataError, VerificationError
from wg_core.site import config as configuration
from wg_core.site.home import ClientHome
from wg_core.wire import bundle, canonical, head_file

ExportFormat = Literal["safetensors", "onnx"]
RecordShape = tuple[int, int]
_ANY_SHAPE: RecordShape = (1, 1)  # Where the model does not depend on it
NO_NOISE_NOTICE = "trained or chosen on a plant's records, without noise; no ledger counts it"
RESIZING_DESCRIPTION = (
    "float, bicubic with antialiasing (a = -0.5), clamped to 0..255; gray: channel repeated"
)
FORMAT_BY_SUFFIX: dict[str, ExportFormat] = {".safetensors": "safetensors", ".onnx": "onnx"}


def export_model(
    home: ClientHome, manifest: ModelsManifest, name: str, file_format: ExportFormat, out_path: Path
) -> dict[str, str]:
    """Write one model as one file; return its metadata.

    Raises:
        ConfigError: There is no such model, ``out_path`` cannot be written, or the encoder needs an
            external file.
        VerificationError: The encoder or the model differs from the manifest's.
    """
    kind = find_modality(find_architecture(manifest.architecture).modality)
    encoder = load_encoder(home, manifest)
    entry = manifest.find_entry(name)
    tensors = store.load_model_tensors(home, manifest, name)
    plant_network = load_network(home, manifest, encoder)
    model = build_head_model(
        kind.head_architecture, encoder, tensors, manifest.labels, plant_network
    )
    metadata = {
        **_base_metadata(kind, encoder, manifest.labels, entry.name),
        "package": manifest.package_id,
        "generator": manifest.generator,
        "records": NO_NOISE_NOTICE,
    }
    judge = VerdictRule.load(home, manifest, name)
    if file_format == "onnx":
        metadata |= _verdict_metadata(judge)
    shape = (
        _first_record_shape(home, kind)
        if file_format == "onnx" and _has_fixed_record_size(kind)
        else _ANY_SHAPE
    )
    data = _encode_model_file(
        shape, model, file_format, metadata, ModelWithVerdicts(model, judge, manifest).eval()
    )
    atomic.write_bytes(out_path, data, mode=atomic.PRIVATE_FILE_MODE)
    return metadata


def export_private_head(
    home: ClientHome,
    release_file: bytes,
    file_format: ExportFormat,
    out_path: Path,
    window_shape: RecordShape | None = None,
) -> dict[str, str]:
    """Write a private head as a whole model; return its metadata.

    Args:
        release_file: Release file with the private head and the proof of its charge.
        window_shape: Stated shape of windows, (channels, samples); None: that of the settings.

    Raises:
        ConfigError, VerificationError: As for ``export_model`` and
        ``check_private_head_exportable``.
    """
    parts = bundle.decode_statistics(release_file)
    manifest, (weight, bias) = head_file.decode(parts.release)
    schema = manifest.schema
    encoder = plants.load_pinned_encoder(home, schema.encoder)
    kind = find_modality(encoder.modality)
    tensors = {HEAD_WEIGHT_TENSOR: weight, HEAD_BIAS_TENSOR: bias}
    model = build_head_model(kind.head_architecture, encoder, tensors, schema.labels)
    price = f"epsilon {manifest.epsilon}, delta {manifest.delta}, unit by rule {schema.unit_rule}"
    metadata = {
        **_base_metadata(kind, encoder, schema.labels, "private"),
        "records": f"{price}; on the plant's ledger",
        "release": canonical.sha256_hex(parts.release),
    }
    shape = _declared_record_shape(home, kind, file_format, window_shape)
    atomic.write_bytes(
        out_path,
        _encode_model_file(shape, model, file_format, metadata),
        mode=atomic.PRIVATE_FILE_MODE,
    )
    return metadata


def check_private_head_exportable(
    home: ClientHome, file_format: ExportFormat, window_shape: RecordShape | None = None
) -> None:
    """Refuse a private export that would fail, before anything is charged.

    Args:
        window_shape: Stated shape of windows, (channels, samples); None: that of the settings.

    Raises:
        ConfigError: The encoder needs an external file, or the windows' shape is neither stated nor
            in the settings.
    """
    encoder = plants.caching_encoder_loader()(plants.load_encoder_package(home))
    weight = np.zeros((1, encoder.dimension), np.float32)
    tensors = {HEAD_WEIGHT_TENSOR: weight, HEAD_BIAS_TENSOR: np.zeros(1, np.float32)}
    kind = find_modality(encoder.modality)
    build_head_model(kind.head_architecture, encoder, tensors, ["a class"])
    _declared_record_shape(home, kind, file_format, window_shape)


def _base_metadata(
    modality: Modality, encoder: Encoder, labels: Sequence[str], name: str
) -> dict[str, str]:
    return {
        "format": "weightgate-model",
        "architecture": modality.head_architecture,
        "model": name,
        "labels": json.dumps(list(labels), ensure_ascii=False),
        **({} if modality.is_resized else {"input": modality.name}),
        "encoder": encoder.id,
        "trunk": encoder.module.trunk.label,
    }


def _encode_model_file(
    shape: RecordShape,
    model: HeadModel,
    file_format: ExportFormat,
    metadata: dict[str, str],
    verdict_model: ModelWithVerdicts | None = None,
) -> bytes:
    """Return the bytes of a model's file; the shapes of its inputs are added to ``metadata``."""
    kind, trunk = (
        find_modality(find_architecture(metadata["architecture"]).modality),
        model.encoder.trunk,
    )
    examples: dict[str, torch.Tensor] = {}
    if kind.is_resized or file_format == "onnx":
        record = kind.example_record(shape)
        example = examples[kind.name] = _example_batch(record, trunk)
        if kind.is_resized:
            metadata |= {"pixels": str(example.shape[-1]), "resize": RESIZING_DESCRIPTION}
        else:
            metadata["views"] = "n," + ",".join(map(str, example.shape[1:]))
    if file_format == "onnx":
        for part in cast(Sequence[EncoderTrunk], model.further):
            examples[part.label] = _example_batch(record, part)
        if isinstance(model.network, NetworkTrunks):
            metadata["network"] = model.network.architecture
            batch = network.prepare_batch(model.network.architecture, [record] * 2)
            examples["prepared"] = torch.from_numpy(batch).float()
        metadata["inputs"] = json.dumps({name: list(x.shape[1:]) for name, x in examples.items()})
        outputs = ("logits",) if verdict_model is None else OUTPUT_NAMES
        return encode_onnx(verdict_model or model, examples, outputs, metadata)
    return _encode_safetensors(model, metadata)


def _has_fixed_record_size(modality: Modality) -> bool:
    """Return whether models of a modality take records of one size only."""
    sizes = [modality.example_record((length, length)).shape for length in (8, 16)]
    return not modality.is_resized and sizes[0] != sizes[1]


def _declared_record_shape(
    home: ClientHome,
    modality: Modality,
    file_format: ExportFormat,
    window_shape: RecordShape | None,
) -> RecordShape:
    """Return the shape of records that a private model takes, without reading any record.

    Raises:
        ConfigError: The model needs a shape, and it is neither stated nor in the settings.
    """
    log = configuration.load(home).data.reading.log
    if file_format != "onnx" or not _has_fixed_record_size(modality):
        return _ANY_SHAPE
    if window_shape is not None:
        return window_shape
    if log is None:
        raise ConfigError(
            f"{home.config}: the settings do not say the size of a {modality.singular}, which this"
            " file would publish from a record: state it (--window-shape CHANNELS SAMPLES), or"
            " export a .safetensors file"
        )
    return len(log.channels), log.window_samples


def _first_record_shape(home: ClientHome, modality: Modality) -> RecordShape:
    """Return the shape of the plant's first record; ``DataError`` if there is no record."""
    snapshot = snapshots.load_current(home)
    for rows, columns in snapshot.records().shapes:
        return int(rows), int(columns)
    raise DataError(
        f"{snapshot.folder}: no record, so the size of a {modality.singular} is not known"
    )


def _example_batch(record: Record, trunk: EncoderTrunk) -> torch.Tensor:
    """Return one record twice, prepared as input of the exported model."""
    return torch.cat([trunk.prepare([record])] * 2)


VERDICTS = (PASS, REJECT, LOOK, "")
OUTPUT_NAMES = ("label", "probability", "distance", "verdict", "probabilities", "logits")


class NoveltyScoreModule(nn.Module):
    """Module that computes novelty scores as ``NoveltyTest.score`` does, for export."""

    def __init__(self, novelty_test: NoveltyTest) -> None:
        super().__init__()
        self.layout = novelty_test.first_feature, novelty_test.block_sizes
        self.coordinate_sizes = novelty_test.coordinate_sizes
        for part in ("mean", "scale", "bank"):
            self.register_buffer(part, torch.from_numpy(getattr(novelty_test, part)))
        self.width = sum(novelty_test.block_sizes) or len(novelty_test.mean)
        widest = max(novelty_test.block_sizes, default=self.width)
        self.register_buffer("signs", torch.from_numpy(hash_signs(widest)))

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        """Return the novelty scores ``[n]`` of n records from their local features ``[n, D]``."""
        start, sizes = self.layout
        x = features[:, start : start + self.width]
        if sizes:
            parts = [
                part / part.norm(dim=1, keepdim=True).clamp(min=1e-9)
                for part in torch.split(x, sizes, dim=1)
            ]
        else:
            parts = [(x - cast(torch.Tensor, self.mean)) * cast(torch.Tensor, self.scale)]
        banks = torch.split(cast(torch.Tensor, self.bank), self.coordinate_sizes, dim=1)
        distances = [
            self._block_distances(part, bank) for part, bank in zip(parts, banks, strict=True)
        ]
        scores: torch.Tensor = torch.stack(distances).log().mean(dim=0).exp()
        return scores

    def _block_distances(
        self, block_features: torch.Tensor, block_bank: torch.Tensor
    ) -> torch.Tensor:
        """Return the distances ``[n]`` to the nearest records of the bank, in one block."""
        size, width = block_features.shape[1], block_bank.shape[1]
        if size > width:
            block_features = torch.nn.functional.pad(
                block_features * cast(torch.Tensor, self.signs)[:size], (0, -size % width)
            )
            block_features = block_features.reshape(
                -1, block_features.shape[1] // width, width
            ).sum(dim=1)
        squares = block_features.square().sum(dim=1, keepdim=True) + block_bank.square().sum(dim=1)
        squares = squares - 2 * block_features @ block_bank.T
        near = min(2, len(block_bank))
        nearest = squares.clamp(min=0).topk(near, dim=1, largest=False).values
        return nearest.mean(dim=1).sqrt().clamp(min=SMALLEST_DISTANCE)


class ModelWithVerdicts(nn.Module):
    """Module for export: a model whose outputs include the verdicts of ``calls``.

    Args:
        model: Model that maps records to features, and features to logits.
        verdict_rule: Verdict rule of this model.
        manifest: Manifest of its package.
    """

    def __init__(
        self, model: HeadModel, verdict_rule: VerdictRule, manifest: ModelsManifest
    ) -> None:
        super().__init__()
        self.model = model
        self.limit = (
            largest_supported_probability(manifest.judged_labels) if manifest.judged_labels else 1.0
        )
        self.threshold = verdict_rule.defect_threshold
        novelty = verdict_rule.novelty_test
        self.distance = None
        if novelty is not None and len(novelty.scores) > 0:
            self.distance = NoveltyScoreModule(novelty)
        self.new_above, self.pass_within = (
            verdict_rule.novelty_score_limit(LARGEST_NEW_LIKENESS),
            verdict_rule.novelty_score_limit(LEAST_PASS_LIKENESS),
        )
        self.pass_limit = (
            -np.inf
            if verdict_rule.pass_rule.log_odds_limit is None
            else verdict_rule.pass_rule.log_odds_limit - LIMIT_MARGIN
        )
        self.judges = verdict_rule.good_label_mask is not None
        if verdict_rule.good_label_mask is not None:
            self.register_buffer(
                "defect", torch.from_numpy((~verdict_rule.good_label_mask).astype(np.float32))
            )

    def forward(
        self, records: torch.Tensor, *further_inputs: torch.Tensor
    ) -> tuple[torch.Tensor, ...]:
        """Classify n records into K classes, and add verdicts.

        Args:
            records: Batch of n records, prepared by the encoder's first trunk.
            further_inputs: The same records prepared by each further trunk, then, if there is a
                network with inputs of its own, by this network.

        Returns:
            Index of the most likely label ``[n]``, its probability ``[n]``, novelty score ``[n]``
            (NaN: unknown), index into ``VERDICTS`` ``[n]``, and the probabilities and logits of
            all labels, ``[n, K]`` each; the names are in ``OUTPUT_NAMES``.
        """
        features = self.model.features(records, *further_inputs)
        logits = self.model.logits(features)
        label = logits.argmax(dim=1)
        chances = self._capped_probabilities(logits, label)
        probability = chances.gather(1, label[:, None])[:, 0]
        verdict = torch.full_like(label, VERDICTS.index(""))
        if self.judges:
            defect = chances @ cast(torch.Tensor, self.defect)
            is_defect = cast(torch.Tensor, self.defect).bool()
            of_defects = logits.masked_fill(~is_defect, -1e30).logsumexp(dim=1)
            odds = of_defects - logits.masked_fill(is_defect, -1e30).logsumexp(dim=1)
            passes = odds < self.pass_limit
            by_limit = torch.where(passes, VERDICTS.index(PASS), VERDICTS.index(LOOK))
            verdict = torch.where(defect >= self.threshold, VERDICTS.index(REJECT), by_limit)
        distance = torch.full_like(probability, torch.nan)
        look = torch.ones_like(label, dtype=torch.bool)
        if self.distance is not None:
            distance = self.distance(features)
            unlike = (verdict == VERDICTS.index(PASS)) & (distance > self.pass_within)
            look = (distance > self.new_above) | unlike
        verdict = torch.where(look, VERDICTS.index(LOOK), verdict)
        return label, probability, distance, verdict, chances, logits

    def _capped_probabilities(self, logits: torch.Tensor, label: torch.Tensor) -> torch.Tensor:
        """Return class probabilities ``[n, K]``, limited as by ``sure_calls.cap_probabilities``."""
        if logits.shape[1] == 1:
            return torch.ones_like(logits)
        best = torch.nn.functional.one_hot(label, logits.shape[1]).bool()
        top = logits.softmax(dim=1).amax(dim=1, keepdim=True).clamp(max=self.limit)
        shares = logits.masked_fill(best, -1e30).softmax(dim=1) * (1 - top)
        return torch.where(best, top, shares)


def _verdict_metadata(verdict_rule: VerdictRule) -> dict[str, str]:
    tells = verdict_rule.novelty_test is not None and len(verdict_rule.novelty_test.scores) > 0
    return {
        "verdicts": json.dumps(VERDICTS),
        "threshold": repr(verdict_rule.defect_threshold),
        "pass_limit": ""
        if verdict_rule.pass_rule.log_odds_limit is None
        else repr(verdict_rule.pass_rule.log_odds_limit),
        "new_above": repr(verdict_rule.novelty_score_limit(LARGEST_NEW_LIKENESS)) if tells else "",
        "pass_within": repr(verdict_rule.novelty_score_limit(LEAST_PASS_LIKENESS)) if tells else "",
    }


def _encode_safetensors(model: nn.Module, metadata: dict[str, str]) -> bytes:
    state = {name: value.contiguous() for name, value in model.state_dict().items()}
    return safetensors.torch.save(state, metadata={"model": canonical.encode(metadata).decode()})


def encode_onnx(
    model: nn.Module,
    example_inputs: Mapping[str, torch.Tensor],
    output_names: Sequence[str],
    metadata: Mapping[str, str],
) -> bytes:
    """Export the model as ONNX with torch's exporter; the batch size is dynamic.

    Args:
        example_inputs: Example inputs of two records, by name.
        output_names: Names of the outputs.
        metadata: Metadata of the file.
    """
    batch = torch.export.Dim("n", min=1, max=1 << 20)
    records, *further_axes = ({0: batch} for _ in example_inputs)
    with _silence_loggers("torch.onnx", "onnxscript", "onnx_ir"):
        program = torch.onnx.export(
            model,
            tuple(example_inputs.values()),
            input_names=list(example_inputs),
            output_names=list(output_names),
            dynamic_shapes=(records, tuple(further_axes)) if further_axes else (records,),
            dynamo=True,
            verbose=False,
        )
    if program is None:
        raise VerificationError("onnx: torch's exporter gave no program")
    program.model.metadata_props.update(metadata)
    with tempfile.TemporaryDirectory(prefix="wg-onnx-") as folder:
        path = Path(folder) / "model.onnx"
        program.save(path)
        return path.read_bytes()


@contextmanager
def _silence_loggers(*names: str) -> Iterator[None]:
    """Silence the exporter's progress and deprecation messages, which a plant cannot act on."""
    loggers = [logging.getLogger(name) for name in names]
    levels = [logger.level for logger in loggers]
    try:
        for logger in loggers:
            logger.setLevel(logging.ERROR)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)
