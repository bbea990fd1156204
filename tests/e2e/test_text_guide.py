"""The commands of ``docs/text-guide.md``, as they stand there, one after the other."""

from __future__ import annotations

import re
import shlex
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from tests.client.cli.conftest import shown
from tests.client.discriminants import fit_lda
from tests.client.selection.test_text_plant import LABELS, bag_of_words, public, rows, write
from tests.e2e.file_support import head_package
from tests.e2e.fleet_support import make_home, running

from wg_client.data.dataset import SurveyOptions
from wg_client.data.dataset_survey import survey_dataset
from wg_client.fitting.linear_head import fit_standardisation
from wg_common.modalities.texts import Texts
from wg_common.nets.encoder import sentence_encoder
from wg_common.nets.encoder.projected_trunk import compute_raw_features, load_encoder
from wg_common.nets.encoder.projection_fit import fit_encoder
from wg_core.errors import ExitCode
from wg_core.site import config as configuration
from wg_core.site.home import ClientHome
from wg_core.wire import protocol
from wg_server.fleet.enrolment import create_join_token
from wg_server.site.home import ServerHome
from wg_server.store.server_store import ServerStore

__all__ = ["shown"]

PAGE = Path(__file__).parents[2] / "docs" / "text-guide.md"


def _encoder() -> bytes:
    records, labels = public(40)
    raw = compute_raw_features(records, modality="texts")
    return fit_encoder(raw, labels % 2, labels, modality="texts", dimension=8)


def _package(server: ServerHome) -> bytes:
    """A head that was trained on many notes, as the server would send it."""
    records, labels = public(60)
    features = load_encoder(server.encoder_file.read_bytes()).encode(records).astype(np.float64)
    scale = fit_standardisation(features)
    head = scale.to_unscaled_head(fit_lda(scale.apply(features), labels, len(LABELS), 0.5))
    return head_package(server, head, LABELS, site="pump-7", kind="texts")


@pytest.mark.slow
def test_the_commands_of_the_page_run(
    tmp_path: Path, shown: Callable[..., tuple[str, str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sentence_encoder, "embed_sentences", bag_of_words)
    monkeypatch.setenv("COLUMNS", "100")
    server = make_home(tmp_path / "server")
    server.encoder_file.write_bytes(_encoder())
    monkeypatch.chdir(tmp_path)
    own = [row | {"author": f"a{number}"} for number, row in enumerate(rows(2, 8))]
    write(Path("notes.csv"), own)
    write(Path("new.csv"), [{"text": row["text"]} for row in rows(9, 3)])
    Path("plant.wgw").write_bytes(_package(server))
    said: dict[str, str] = {}
    with running(server), ServerStore.open(server) as store:
        Path("token").write_text(
            protocol.encode_join_token(create_join_token(server, store, "pump-7", 600.0))
        )
        for block in re.findall(r"```console\n(.*?)```", PAGE.read_text("utf-8"), re.DOTALL):
            for line in block.splitlines():
                words = shlex.split(line.removeprefix("$ wg-client "))
                # Which model `apply` keeps, the plant's own or another, hangs on its secret order.
                code = (ExitCode.OK, ExitCode.NOT_ACCEPTED) if words[0] == "apply" else ExitCode.OK
                said[words[0]], _ = shown(*words, code=code)
    assert list(said) == [
        *("simulate", "init", "check", "statistics", "apply", "predict", "models", "freeze")
    ]
    assert Path("plant.wgs").is_file() and Path("model.onnx").is_file()
    calls = Path("calls.csv").read_text("utf-8").splitlines()
    assert len(calls) == 1 + 9
    config = configuration.load(ClientHome(Path("plant")))
    assert config.data.unit_column == "author"
    assert config.acceptance.standard_errors == Texts.default_standard_errors


def test_the_example_table_of_the_page_can_be_read(tmp_path: Path) -> None:
    (table,) = re.findall(r"```csv\n(.*?)```", PAGE.read_text("utf-8"), re.DOTALL)
    (tmp_path / "notes.csv").write_text(table, encoding="utf-8")
    found = survey_dataset(tmp_path / "notes.csv", SurveyOptions(unit_column="author")).data
    assert (found.modality, found.label_names) == ("texts", ("leak", "noise"))
    assert list(found.labels) == [0, 1, -1] and set(found.privacy_units or ()) == {"a1", "a2"}
