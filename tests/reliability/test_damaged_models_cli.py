"""Every command that takes a model, with a damaged one: exit 4, the file's name and a remedy."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from typer.testing import CliRunner

import augment.cli
import distill.cli
from tests.reliability.damaged_models import DAMAGES
from tests.unit.augment.conftest import make_classifier, make_masked_lm, make_vectors
from tests.unit.distill.helpers import SENTIMENT, mood_rows, write_version

COMMANDS = {
    "augment run": "run sst2 --source {data} --mlm {bad} --vectors {vectors} --out {out}",
    "augment plan": "plan sst2 --source {data} --mlm {bad} --vectors {vectors}",
    "augment preview": "preview sst2 --text film --mlm {bad} --vectors {vectors}",
    "augment --teacher": "run sst2 --source {data} --mlm {mlm} --vectors {vectors} --out {out} "
    "--recipe {agreeing} --teacher {bad}",
    "augment --similarity-model": "run sst2 --source {data} --mlm {mlm} --vectors {vectors} "
    "--out {out} --recipe {similar} --similarity-model {bad}",
    "distill teacher": "teacher {version} --init {bad} --out {out}",
    "distill general --teacher": "general {text} --teacher {bad} --student 1x16-32-2 --out {out}",
    "distill general --student": "general {text} --teacher {good} --student {bad} --out {out}",
    "distill run --teacher": "run {version} --teacher {bad} --student 1x16-32-2 --out {out}",
    "distill run --student": "run {version} --teacher {good} --student {bad} --out {out}",
    "distill doctor": "doctor {bad} {version} --student 1x16-32-2",
    "distill evaluate": "evaluate {bad} {version}",
    "distill export": "export {bad} {version} --to transformers --out {out}",
    "distill trim": "trim {bad} {version} --out {out}",
    "distill predict": "predict {bad} {version} --split validation --out {out}.csv",
    "distill predict --text": "predict {bad} --text good",
}
FEW = ("config-cut", "weights-pointer", "weights-index-parent", "tokenizer-no-keys")


@pytest.fixture(scope="module")
def places(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """What the commands need beside a damaged model."""
    place = tmp_path_factory.mktemp("places")
    (place / "data").mkdir()
    for split in ("train", "validation"):
        rows = "sentence,label\na good film,1\na bad plot,0\n"
        (place / "data" / f"{split}.csv").write_text(rows.replace("a ", f"the {split} "))
    (place / "text.txt").write_text("a good film\n" * 50)
    (place / "agreeing.toml").write_text('teacher_agreement = "unchanged"\n')
    (place / "similar.toml").write_text("min_similarity = 0.5\n")
    splits = {"train": mood_rows(8, 1), "validation": mood_rows(8, 2), "test": mood_rows(8, 3)}
    return {
        "data": place / "data",
        "text": place / "text.txt",
        "agreeing": place / "agreeing.toml",
        "similar": place / "similar.toml",
        "vectors": make_vectors(place / "vectors.txt"),
        "mlm": make_masked_lm(place / "mlm"),
        "good": make_classifier(place / "good", SENTIMENT.label.names),
        "version": write_version(place, SENTIMENT, splits).path,
    }


@pytest.mark.parametrize("damage", FEW)
@pytest.mark.parametrize("command", COMMANDS)
def test_a_command_refuses_it_and_leaves_nothing(
    command: str, damage: str, places: dict[str, Path], tmp_path: Path
) -> None:
    masked = command in ("augment run", "augment plan", "augment preview")
    bad = shutil.copytree(places["mlm" if masked else "good"], tmp_path / "bad")
    DAMAGES[damage].do(bad)
    words = COMMANDS[command].format(bad=bad, out=tmp_path / "out", **places).split()
    app = augment.cli.app if command.startswith("augment") else distill.cli.app
    done = CliRunner().invoke(app, words)

    assert done.exit_code == 4, done.output
    assert "Traceback" not in done.output
    assert DAMAGES[damage].says in done.output.replace("\n", "")
    assert not (tmp_path / "out").exists() or not list((tmp_path / "out").glob("*"))
