"""The command line: results on stdout, a sentence and an exit code for every kind of bad input."""

from __future__ import annotations

import contextlib
import json
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from augment.analysis import plan
from augment.cli import app
from augment.contract import open_version, verify
from tests.unit.augment.conftest import make_classifier, make_masked_lm

Augment = Callable[..., Result]


@pytest.fixture
def augment() -> Augment:
    return lambda *arguments: CliRunner().invoke(app, [str(a) for a in arguments])


@pytest.fixture
def source(tmp_path: Path) -> Path:
    folder = tmp_path / "sst2"
    folder.mkdir()
    (folder / "train.csv").write_text("sentence,label\na good film,1\nthe slow red dog ran,0\n")
    (folder / "validation.csv").write_text("sentence,label\nfine music,1\n")
    return folder


@pytest.fixture
def options(source: Path, mlm_dir: Path, vectors_file: Path, tmp_path: Path) -> list[Any]:
    """The options of a run that works; a later option overrides an earlier one."""
    where = ["--mlm", mlm_dir, "--vectors", vectors_file, "--out", tmp_path / "out"]
    return ["run", "sst2", "--source", source, *where]


def test_run_list_show_verify(augment: Augment, options: list[Any], tmp_path: Path) -> None:
    done = augment(*options)
    assert done.exit_code == 0, done.output
    assert "sst2@v0001" in done.stdout
    assert "next" in done.stdout
    assert "recipe" in done.stderr
    again = augment(*options)
    assert "nothing to do" in again.stderr
    reference = tmp_path / "out" / "sst2@v0001"
    assert "sst2@v0001" in augment("list", tmp_path / "out").stdout
    shown = augment("show", reference, "--rows", 2).stdout
    assert "label positive" in shown
    assert "label: 0 negative · 1 positive" in shown
    assert "a good film" in shown
    assert "[" in shown
    assert "files agree" in augment("verify", reference).stdout
    listed = json.loads(augment("list", tmp_path / "out", "--json").stdout)
    assert listed[0]["path"].endswith("v0001")


def test_json_is_all_that_stdout_holds(augment: Augment, options: list[Any]) -> None:
    result = json.loads(augment(*options, "--json").stdout)

    assert result["version"] == "v0001"
    assert result["counts"]["rows.source"] == 2


def test_preview_explains_each_word(augment: Augment, options: list[Any]) -> None:
    _, task, _, _, *models = options
    arguments = ["preview", task, "--text", "A good ukulele, it was.", *models[:4]]
    view = json.loads(augment(*arguments, "--json").stdout)
    routes = {word["word"]: word["route"] for word in view["words"]}

    assert routes["A"] == "stop_word"
    assert routes["good"] == "masked_lm"
    assert routes["ukulele"] == "vectors"
    assert routes[","] == "not_plain"
    assert "ukulele" in augment(*arguments).stdout


def test_preview_takes_both_texts_of_a_pair(augment: Augment, options: list[Any]) -> None:
    models = options[4:8]
    texts = ["--text", "A good film.", "--text", "fine music"]
    views = json.loads(augment("preview", "mrpc", *texts, *models, "--json").stdout)
    assert [(view["column"], view["text"]) for view in views] == [
        ("sentence1", "A good film."), ("sentence2", "fine music"),
    ]  # fmt: skip
    assert "sentence2" in augment("preview", "mrpc", *texts, *models).stdout

    third = augment("preview", "mrpc", *texts, "--text", "more", *models)
    assert third.exit_code == 2
    assert "3 texts are given; mrpc has 2: sentence1, sentence2." in third.stderr


def test_rows_as_they_are_need_no_models(augment: Augment, source: Path, tmp_path: Path) -> None:
    asked = ["run", "sst2", "--source", source, "--out", tmp_path / "out"]
    done = augment(*asked, "--variants", 0)
    assert done.exit_code == 0, done.output
    assert "the rows as they are" in done.stderr
    assert "warning" not in done.stderr
    assert "--teacher-init google-bert/bert-base-uncased" in done.stdout
    made = open_version(tmp_path / "out" / "sst2")
    assert made.manifest.assets == ()
    assert made.manifest.recipe["variants"] == 0
    assert made.manifest.counts["rows.augmented"] == 0
    assert made.to_pandas("train").variant.tolist() == [0, 0]
    assert "nothing to do" in augment(*asked, "--variants", 0, "--mlm", "not/read").stderr
    assert verify(made)

    recipe = tmp_path / "none.toml"
    recipe.write_text('variants = 0\nmin_similarity = 0.9\nteacher_agreement = "gold"\n')
    assert augment(*asked, "--recipe", recipe, "--workers", 2).exit_code == 0


@pytest.mark.parametrize(
    ("command", "given", "sentence"),
    [
        ("run", [], "--mlm and --vectors not given"),
        ("run", ["--mlm", "x"], "--vectors not given"),
        ("plan", ["--vectors", "x"], "--mlm not given"),
        ("plan", ["--variants", 0], "there is nothing to plan"),
        ("preview", ["--text", "a film"], "--mlm and --vectors not given"),
    ],
)
def test_models_that_are_not_named(
    augment: Augment, command: str, given: list[Any], sentence: str
) -> None:
    done = augment(command, "sst2", *given)

    assert done.exit_code == 2
    assert sentence in done.stderr


def test_plan_bounds_what_it_does(
    augment: Augment, mlm_dir: Path, vectors_file: Path, tmp_path: Path, monkeypatch: Any
) -> None:
    """Long texts are cut for the timing alone; of many rows some are counted."""
    monkeypatch.setattr(plan, "COUNTED_ROWS", 40)
    lines = [f"{'good film ' * (1 + i % 50)},{i % 2}" for i in range(400)]
    (tmp_path / "train.csv").write_text("\n".join(["sentence,label", *lines]))
    (tmp_path / "validation.csv").write_text("sentence,label\nfine,1\n")
    named = ["--source", tmp_path, "--mlm", mlm_dir, "--vectors", vectors_file]
    found = json.loads(augment("plan", "sst2", *named, "--json").stdout)

    assert (found["rows_in"], found["counted_rows"]) == (400, 40)
    assert found["distinct_texts"] == 50
    assert 0.8 < found["masked_positions"] / (50 * 51) < 1.2  # 2, 4, … 100 words
    assert 0 < found["timed_rows"] <= 40


def test_plan_says_what_the_run_would_refuse(
    augment: Augment, mlm_dir: Path, vectors_file: Path, tmp_path: Path
) -> None:
    (tmp_path / "train.csv").write_text("sentence,label\nfine,1\n" + "good " * 200 + ",0\n")
    (tmp_path / "validation.csv").write_text("sentence,label\nfine,1\n")
    named = ["--source", tmp_path, "--mlm", mlm_dir, "--vectors", vectors_file]
    done = augment("plan", "sst2", *named)

    assert done.exit_code == 3
    assert "train row 1, sentence, has 200 tokens" in done.stderr


def test_names_that_are_no_task(augment: Augment, tmp_path: Path) -> None:
    with contextlib.chdir(tmp_path):
        (tmp_path / "mine.toml").touch()
        (tmp_path / "my data.csv").touch()
        data = augment("recipe", "my data.csv").stderr
        assert "augment init 'my data.csv' --split 70/15/15" in data
        assert "ends in .toml: mine.toml" in augment("recipe", "mine").stderr
        assert "augment init DATA --split" in augment("recipe", "other").stderr
        assert augment("list").exit_code in (0, 3)  # of data/versions, which is not there


def test_rows_with_soft_labels_show_them(augment: Augment, source: Path, tmp_path: Path) -> None:
    (source / "train.csv").write_text(
        "sentence,label,p_negative,p_positive\na good film,1,0.1,0.9\nslow,0,,\n"
    )
    made = augment("run", "sst2", "--source", source, "--variants", 0, "--out", tmp_path / "out")
    assert made.exit_code == 0, made.output
    shown = augment("show", tmp_path / "out" / "sst2").stdout
    assert "label positive · soft positive 0.90, negative 0.10" in shown
    assert "recipe      variants 0: the rows as they are" in shown
    assert "as they are" in augment("list", tmp_path / "out").stdout


def test_plan_counts_before_anything_runs(
    augment: Augment, options: list[Any], tmp_path: Path
) -> None:
    _, task, flag, source, *models = options
    found = json.loads(augment("plan", task, flag, source, *models[:4], "--json").stdout)
    augment(*options)
    counts = json.loads(augment("show", tmp_path / "out" / "sst2", "--json").stdout)["counts"]

    assert found["rows_in"] == found["distinct_texts"] == 2
    assert found["masked_positions"] == counts["words.masked_lm"]
    assert found["rows_out"] == counts["rows.source"] + counts["rows.augmented"]
    assert found["minutes"] > 0
    told = augment("plan", task, flag, source, *models[:4]).stdout
    for words in (
        "2 in, about",
        "masked words to predict",
        "on this machine",
        "MB",
        "2 rows aug",
    ):
        assert words in told


def test_gates_with_models(
    augment: Augment, options: list[Any], mlm_dir: Path, tmp_path: Path
) -> None:
    recipe = tmp_path / "gates.toml"
    recipe.write_text(
        'min_similarity = 0.99\nteacher_agreement = "unchanged"\nkeep_rejected = true\n'
    )
    teacher = ["--teacher", make_classifier(tmp_path / "teacher", ("negative", "positive"))]
    models = [*teacher, "--similarity-model", mlm_dir, "--recipe", recipe]
    done = augment(*options, *models)

    assert done.exit_code == 0, done.output
    assert "similarity of at least 0.99 · teacher agreement (unchanged)" in done.stderr
    assert "dissimilar" in done.stdout
    assert "dissimilar" in augment("show", tmp_path / "out" / "sst2", "--rejected").stdout
    assert "3 files agree" in augment("verify", tmp_path / "out" / "sst2").stdout
    without = [option for option in options if option not in ("--out", tmp_path / "out")]
    planned = augment("plan", *without[1:], *models, "--json")
    assert json.loads(planned.stdout)["rows_out"] > 2
    unnamed = augment("plan", *without[1:], "--recipe", recipe)
    assert unnamed.exit_code == 2
    assert "Name it: --teacher DIR" in unnamed.stderr


def test_the_store_is_shown_and_pruned(
    augment: Augment, options: list[Any], tmp_path: Path
) -> None:
    augment(*options)
    store = tmp_path / "out" / ".candidates"

    assert json.loads(augment("store", store, "--json").stdout)["files"][0]["entries"] > 0
    assert json.loads(augment("store", store, "--prune", 0, "--json").stdout)["dropped"] > 0


def test_recipe_and_init_print_files(augment: Augment, source: Path, tmp_path: Path) -> None:
    assert "variants = 30" in augment("recipe", "cola").stdout
    drafted = augment("init", source / "train.csv").stdout
    assert 'text_columns = ["sentence"]' in drafted
    (source / "mine.toml").write_text(drafted)
    assert augment("recipe", source / "mine.toml").exit_code == 0


def _empty(source: Path) -> None:
    (source / "train.csv").write_text("")


def _no_column(source: Path) -> None:
    (source / "train.csv").write_text("text,label\na,1\n")


def _bad_label(source: Path) -> None:
    (source / "train.csv").write_text("sentence,label\nfilm,2\n")


def _too_long(source: Path) -> None:
    (source / "train.csv").write_text(f"sentence,label\n{'film ' * 600},1\n")


def _cut_parquet(source: Path) -> None:
    (source / "train.csv").unlink()
    (source / "train.parquet").write_bytes(b"PAR1 and no more")


def _no_validation(source: Path) -> None:
    (source / "validation.csv").unlink()


@pytest.mark.parametrize(
    ("damage", "sentence", "code"),
    [
        (_empty, "train.csv is empty", 3),
        (_no_column, "no column 'sentence'. Found: text, label", 3),
        (_bad_label, "train.csv line 2 has label '2'", 3),
        (_too_long, "has 600 tokens, the masked LM reads 126", 3),
        (_cut_parquet, "cannot be read as a whole Parquet file", 3),
        (_no_validation, "no validation split", 3),
    ],
)
def test_bad_sources(
    augment: Augment,
    options: list[Any],
    source: Path,
    tmp_path: Path,
    damage: Callable[[Path], None],
    sentence: str,
    code: int,
) -> None:
    damage(source)
    done = augment(*options)

    assert done.exit_code == code
    assert done.stderr.strip().splitlines()[-1].endswith(f"(exit {code})")
    assert sentence in done.stderr
    assert "Traceback" not in done.output
    assert not list((tmp_path).rglob("*.partial*"))
    assert not (tmp_path / "out" / "sst2").exists()


def test_a_score_that_is_no_number(augment: Augment, options: list[Any], source: Path) -> None:
    (source / "train.csv").write_text("sentence1,sentence2,label\na,b,nan\n")
    done = augment(options[0], "stsb", *options[2:])

    assert done.exit_code == 3
    assert "has score 'nan'" in done.stderr


@pytest.mark.parametrize(
    ("extra", "sentence", "code"),
    [
        (["--mlm", "./nowhere"], "no model folder ./nowhere", 4),
        (["--vectors", "{source}/train.csv"], "is not a word and", 4),
        (["--recipe", "nope"], "neither a shipped one", 2),
        (["--source", "/no/such/place"], "is not there", 3),
    ],
)
def test_bad_arguments(
    augment: Augment, options: list[Any], source: Path, extra: list[str], sentence: str, code: int
) -> None:
    done = augment(*options, *(part.format(source=source) for part in extra))

    assert done.exit_code == code
    assert sentence in done.stderr


def test_a_model_without_head(
    augment: Augment, options: list[Any], mlm_dir: Path, tmp_path: Path
) -> None:
    from transformers import BertModel

    make_masked_lm(tmp_path / "headless")
    BertModel.from_pretrained(mlm_dir).save_pretrained(tmp_path / "headless")
    done = augment(*options, "--mlm", tmp_path / "headless")

    assert done.exit_code == 4
    assert "no masked-LM head" in done.stderr


def test_a_version_that_points_outside(
    augment: Augment, options: list[Any], tmp_path: Path
) -> None:
    augment(*options)
    manifest = tmp_path / "out" / "sst2" / "v0001" / "manifest.json"
    manifest.write_text(manifest.read_text().replace("data/train-", "../../train-"))
    done = augment("show", tmp_path / "out" / "sst2@v0001")

    assert done.exit_code == 3
    assert "not a file of the version's data folder" in done.stderr


def test_usage_errors_exit_2(augment: Augment) -> None:
    assert augment("run", "sst2").exit_code == 2
    assert augment("nonsense").exit_code == 2


def test_help_is_instant_and_has_examples() -> None:
    command = [sys.executable, "-m", "augment.cli", "run", "--help"]
    began = time.monotonic()
    done = subprocess.run(command, capture_output=True, text=True, check=True)

    assert "Examples augment run sst2" in " ".join(done.stdout.split())
    assert time.monotonic() - began < 10
    code = "import sys, augment.cli; print({'torch', 'transformers', 'gensim'} & set(sys.modules))"
    loaded = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )
    assert loaded.stdout.strip() == "set()"
