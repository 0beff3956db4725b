"""Trimmed models answer as before where pieces stay, in every family; what does not fit is said."""

from __future__ import annotations

import json
import re
import shutil
from itertools import chain
from pathlib import Path

import numpy as np
import pytest
import torch
import transformers
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from tokenizers import Tokenizer, models
from transformers import AutoModelForSequenceClassification, BertConfig, BertTokenizerFast
from typer.testing import CliRunner

from augment.contract import Label, TaskSpec, Version
from distill.cli import app
from distill.errors import ModelInvalid, UsageError
from distill.inference.vocabulary import MARK, vocabulary_digest
from distill.models.loading import load_classifier, load_encoder, read_tokenizer
from distill.models.students import checkpoint_projections
from distill.models.trimming import open_source, write_trimmed
from distill.pipeline import distill_task
from distill.runs.card import CARD
from distill.runs.records import read_json
from distill.serving.segmentation import Pieces, compare
from distill.serving.trim import TrimResult, trim_model
from tests.unit.augment.families import modernbert_tokenizer, roberta_tokenizer
from tests.unit.distill.helpers import (
    BAD,
    GOOD,
    PLAIN,
    SENTIMENT,
    TINY_RECIPE,
    make_bert,
    make_good_teacher,
    make_model,
    make_tokenizer,
    mood_rows,
    save,
    tokenizer_of,
    write_version,
)
from tests.unit.distill.test_card import results, runs_as_it_says
from tests.unit.distill.test_vocabulary import unigram

LETTERS = "abcdefghijklmnopqrstuvwxyz"
UNSEEN = ("elephant", "##phant", "theory", "##ory", "weakness", "ele")
WORDS = (*LETTERS, *(f"##{letter}" for letter in LETTERS), *UNSEEN, *PLAIN[2:], "the", *GOOD, *BAD)
SEEN = (*PLAIN[2:], "the", *GOOD, *BAD)


@pytest.fixture(scope="module")
def spelling() -> BertTokenizerFast:
    """A tokenizer that knows letters, words of the rows, and words that no row holds."""
    return make_tokenizer(WORDS)


@pytest.fixture(scope="module")
def whole(spelling: BertTokenizerFast, tmp_path_factory: pytest.TempPathFactory) -> Path:
    model = make_good_teacher(spelling, layers=2)
    return save(model, spelling, tmp_path_factory.mktemp("models") / "whole")


@pytest.fixture(scope="module")
def small(whole: Path, version: Version, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("trimmed") / "small"
    trim_model(str(whole), version, out=out, quiet=True)
    return out


def vocabulary_of(folder: Path) -> str:
    """The digest that a model's config names."""
    return str(json.loads((folder / "config.json").read_text())["distill"]["vocabulary"])


def test_a_trimmed_model_has_letters_and_what_was_seen(
    small: Path, whole: Path, version: Version, spelling: BertTokenizerFast
) -> None:
    record = read_json(small / "trim.json", TrimResult)
    tokenizer = transformers.AutoTokenizer.from_pretrained(small)
    config = json.loads((small / "config.json").read_text())
    expected = [token for token in spelling.get_vocab() if token not in UNSEEN]

    assert set(tokenizer.get_vocab()) == set(expected)
    assert config["vocab_size"] == len(tokenizer) == record.after.tokens == len(spelling) - 6
    assert config["distill"]["vocabulary"] == record.vocabulary
    assert record.vocabulary == vocabulary_digest(tokenizer.get_vocab())
    assert record.required == 5 + 52
    assert record.before.table_bytes - record.after.table_bytes == 6 * 32 * 4
    assert record.before.weight_bytes - record.after.weight_bytes >= 6 * 32 * 4
    assert record.scores is not None
    assert record.scores.before == record.scores.after
    assert record.scores.logit_difference <= 1e-6
    assert {split: own.same_rows for split, own in record.splits.items()} == {
        "train": 400, "validation": 80,
    }  # fmt: skip
    train = record.splits["train"]
    words = sum(len(row["sentence"].split()) for row in mood_rows(200, 1, variants=2))
    assert (train.tokens, train.kept_tokens, train.new_tokens) == (words, words, words)
    assert not list(small.parent.glob(".*"))


def test_a_trimmed_model_answers_as_before(small: Path, whole: Path) -> None:
    before, after = (
        AutoModelForSequenceClassification.from_pretrained(at).eval() for at in (whole, small)
    )
    old, new = (transformers.AutoTokenizer.from_pretrained(at) for at in (whole, small))
    texts = ["the room was good", "a b c, d!", "weak zebra", "", "the cold day " * 20]
    with torch.no_grad():
        for text in texts:
            one, other = (t(text, return_tensors="pt", truncation=True) for t in (old, new))
            torch.testing.assert_close(before(**one).logits, after(**other).logits)

    assert new.tokenize("elephant") == ["e", *(f"##{letter}" for letter in "lephant")]
    assert "[UNK]" not in new.tokenize("theory of elephants and weakness")
    assert [new.pad_token_id, new.cls_token_id] == [0, 2]


def test_every_command_takes_a_trimmed_model(small: Path, version: Version, tmp_path: Path) -> None:
    place = str(version.path)
    for command in (
        ["evaluate", str(small), place],
        [
            "export",
            str(small),
            place,
            "--to",
            "transformers",
            "--out",
            str(tmp_path / "e"),
            "--quiet",
        ],
        [
            "predict",
            str(small),
            place,
            "--split",
            "validation",
            "--out",
            str(tmp_path / "p.csv"),
            "--quiet",
        ],
        ["trim", str(small), place, "--out", str(tmp_path / "t"), "--size", "70", "--quiet"],
    ):
        found = CliRunner().invoke(app, command)
        assert found.exit_code == 0, found.stderr
    again = json.loads((tmp_path / "t" / "config.json").read_text())
    config = json.loads((tmp_path / "e" / "transformers" / "config.json").read_text())

    assert config["distill"]["vocabulary"] == vocabulary_of(small)
    assert again["distill"]["vocabulary"] != config["distill"]["vocabulary"]
    assert load_classifier(str(tmp_path / "t"), SENTIMENT)


def test_an_export_is_trimmed_on_the_way(whole: Path, version: Version, tmp_path: Path) -> None:
    """Every form is compared with the model that has all its tokens."""
    arguments = ["export", str(whole), str(version.path), "--to", "transformers", "--quiet"]
    out = tmp_path / "out"
    found = CliRunner().invoke(app, [*arguments, "--trim-size", "60", "--out", str(out)])
    assert found.exit_code == 0, found.stderr
    form = json.loads((out / "export.json").read_text())["forms"][1]
    record = read_json(out / "trim.json", TrimResult)

    assert record.scores is not None
    assert record.after.tokens == 60
    assert form["scores"]["validation"] == record.scores.after["validation"]
    assert form["drop"] == record.scores.drop
    assert len(read_tokenizer(str(out / "transformers"))) == 60
    assert vocabulary_of(out / "transformers") == record.vocabulary
    many = [*arguments, "--trim", "--trim-size", "10", "--out", str(tmp_path / "no")]
    assert CliRunner().invoke(app, many).exit_code == 2
    assert not (tmp_path / "no").exists()


def test_the_command_prints_a_table(whole: Path, version: Version, tmp_path: Path) -> None:
    arguments = ["trim", str(whole), str(version.path), "--out", str(tmp_path / "out"), "--quiet"]
    found = CliRunner().invoke(app, [*arguments, "--size", "60"])

    assert found.exit_code == 0, found.stderr
    lines = [line.split() for line in found.stdout.splitlines()]
    assert lines[0][0] == "trim"
    assert lines[1] == ["accuracy", "tokens", "table", "weights", "tokenizer"]
    assert [line[0] for line in lines[2:4]] == ["before", "after"]
    assert lines[3][2] == "60"
    assert [line[0] for line in lines[4:7]] == ["split", "train", "validation"]
    assert lines[5][-1] == "+0"
    record = read_json(tmp_path / "out" / "trim.json", TrimResult)
    assert record.splits["train"].same_rows < 400
    assert record.splits["train"].new_tokens > record.splits["train"].tokens
    assert record.min_count == 0


def test_a_student_has_the_small_vocabulary_from_the_start(
    small: Path, version: Version, tmp_path: Path
) -> None:
    """Of a trimmed teacher; its folder says so, and its tokenizer is the trimmed one."""
    recipe = tmp_path / "tiny.toml"
    recipe.write_text(TINY_RECIPE.replace("epochs = 4", "epochs = 1").replace("= 3\n", "= 1\n", 3))
    run = distill_task(
        version, teacher=small, student="1x16-32-4", out=tmp_path / "run", recipe=recipe,
        plain=False, allow_weak_teacher=True, quiet=True,
    )  # fmt: skip
    config = json.loads((run.student / "config.json").read_text())

    assert config["vocab_size"] == len(read_tokenizer(str(small)))
    assert config["distill"]["vocabulary"] == vocabulary_of(small)
    assert load_classifier(str(run.path), SENTIMENT)


def test_models_and_tokenizers_that_do_not_belong_together(
    small: Path, whole: Path, version: Version, tmp_path: Path
) -> None:
    files = ("tokenizer.json", "tokenizer_config.json")
    trimmed, untrimmed = tmp_path / "trimmed", tmp_path / "untrimmed"
    other = tmp_path / "other"
    trim_model(str(whole), version, out=other, size=60, quiet=True)
    for folder, model, tokenizer in (
        (trimmed, small, other), (untrimmed, whole, small), (tmp_path / "large", small, whole),
    ):  # fmt: skip
        shutil.copytree(model, folder)
        for name in files:
            shutil.copy(tokenizer / name, folder / name)
    for folder, said in (
        (trimmed, "was trimmed, and the tokenizer beside it is another one"),
        (untrimmed, "was trimmed, the model was not"),
        (tmp_path / "large", "embeddings"),
    ):
        found = CliRunner().invoke(app, ["evaluate", str(folder), str(version.path)])
        assert found.exit_code == 4
        assert said in found.stderr
        assert "Traceback" not in found.stderr


def test_transformers_keeps_the_digests(small: Path, tmp_path: Path) -> None:
    """Saved by others, the model and its tokenizer still belong together."""
    model = AutoModelForSequenceClassification.from_pretrained(small)
    save(model, transformers.AutoTokenizer.from_pretrained(small), tmp_path / "again")
    settings = json.loads((tmp_path / "again" / "tokenizer_config.json").read_text())

    assert settings[MARK] == model.config.distill["vocabulary"]
    assert load_classifier(str(tmp_path / "again"), SENTIMENT)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"size": 10}, "--size 10 is too small: 57 tokens"),
        ({"size": 10**6, "min_count": 3}, "say the same thing twice"),
        ({}, "out exists"),
    ],
)
def test_refusals_write_nothing(
    whole: Path, version: Version, tmp_path: Path, options: dict[str, int], said: str
) -> None:
    out = tmp_path / "out"
    if not options:
        out.mkdir()
    with pytest.raises(UsageError, match=said):
        trim_model(str(whole), version, out=out, quiet=True, **options)
    assert list(tmp_path.iterdir()) == ([] if options else [out])


def test_where_nothing_can_be_left_out(teacher: Path, version: Version, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"nothing of the vocabulary of .* would be left out"):
        trim_model(str(teacher), version, out=tmp_path / "out", quiet=True)
    assert not list(tmp_path.iterdir())


def test_an_untuned_encoder_keeps_its_start(
    spelling: BertTokenizerFast, version: Version, tmp_path: Path
) -> None:
    """Its masked-LM head is left; a pooler that it does not have is not made up."""
    torch.manual_seed(0)
    config = BertConfig(
        vocab_size=len(spelling), hidden_size=32, num_hidden_layers=1, num_attention_heads=2,
        intermediate_size=64, max_position_embeddings=64,
    )  # fmt: skip
    folder = save(transformers.BertForMaskedLM(config), spelling, tmp_path / "encoder")
    file = folder / "model.safetensors"
    projection = {"fit_dense.weight": torch.ones(8, 32), "fit_dense.bias": torch.ones(8)}
    save_file({**load_file(file), **projection}, file, metadata={"format": "pt"})
    result = trim_model(str(folder), version, out=tmp_path / "out", quiet=True)
    with safe_open(tmp_path / "out" / "model.safetensors", "pt") as stored:
        names = set(stored.keys())
    before, after = load_encoder(str(folder)), load_encoder(str(tmp_path / "out"))
    one, other = (
        own.model(**own.tokenizer("the room was good", return_tensors="pt")).last_hidden_state
        for own in (before, after)
    )

    assert result.scores is None
    assert not [name for name in names if "pooler" in name or "predictions" in name]
    torch.testing.assert_close(one, other)
    assert torch.equal(checkpoint_projections(tmp_path / "out")[0].weight, torch.ones(8, 32))
    found = CliRunner().invoke(
        app, ["trim", str(folder), str(version.path), "--out", str(tmp_path / "b"), "--quiet"]
    )
    assert found.exit_code == 0, found.stderr


def _unigram_tokenizer() -> transformers.PreTrainedTokenizerFast:
    names = {f"{name}_token": f"[{name.upper()}]" for name in ("pad", "unk", "cls", "sep", "mask")}
    return transformers.PreTrainedTokenizerFast(tokenizer_object=unigram(), **names)


@pytest.mark.parametrize(
    ("family", "made"),
    [
        ("bert", lambda: make_tokenizer(WORDS)),
        ("distilbert", lambda: make_tokenizer(WORDS)),
        ("electra", lambda: make_tokenizer(WORDS)),
        ("roberta", roberta_tokenizer),
        ("mpnet", lambda: tokenizer_of("mpnet", WORDS)),
        ("modernbert", modernbert_tokenizer),
        ("deberta-v2", _unigram_tokenizer),
    ],
)
def test_every_family_computes_the_same(family: str, made, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    tokenizer = made()
    model = make_model(family, tokenizer)
    folder = save(model, tokenizer, tmp_path / "whole")
    source = open_source(str(folder), SENTIMENT)
    reader = source.tokenizer
    texts = ["the room was good", "Paris isn't  Anna's", "unbelievable café", "x" * 30, ""]
    counts = np.zeros(source.vocabulary.size, dtype=np.int64)
    for text in texts:
        counts += np.bincount(reader(text)["input_ids"], minlength=len(counts))
    kept = source.vocabulary.seen(counts, 1).tolist()
    (tmp_path / "small").mkdir()
    write_trimmed(source, kept, tmp_path / "small")
    small = load_classifier(str(tmp_path / "small"), SENTIMENT)

    assert len(kept) < len(tokenizer)
    assert small.model.config.vocab_size == len(small.tokenizer) == len(kept)
    assert small.model.config.pad_token_id == small.tokenizer.pad_token_id
    assert small.tokenizer.all_special_tokens == reader.all_special_tokens
    for text in texts:
        old, now = (
            reader(text, "was it", return_tensors="pt"),
            small.tokenizer(text, "was it", return_tensors="pt"),
        )
        ids = old["input_ids"][0].tolist()
        if not set(ids) <= set(kept):
            continue
        assert [kept[at] for at in now["input_ids"][0]] == ids
        padded = {k: torch.nn.functional.pad(v, (0, 3)) for k, v in now.items()}
        padded["input_ids"][0, -3:] = small.tokenizer.pad_token_id
        with torch.no_grad():
            expected = source.classifier.logits(dict(old))  # type: ignore[union-attr]
            torch.testing.assert_close(small.logits(dict(now)), expected)
            torch.testing.assert_close(small.logits(padded), expected)


def test_pairs_and_scores(spelling: BertTokenizerFast, tmp_path: Path) -> None:
    task = TaskSpec(
        name="alike",
        text_columns=("a", "b"),
        label=Label(column="score", kind="regression"),
        metrics=("pearson",),
        selection_metric="pearson",
    )
    rows = [
        {"a": one["sentence"], "b": f"{other['sentence']} weakness", "score": at / 3}
        for at, (one, other) in enumerate(zip(mood_rows(12, 1), mood_rows(12, 2), strict=True))
    ]
    version = write_version(tmp_path, task, {"train": rows[:6], "validation": rows})
    model = make_bert(spelling, labels=("LABEL_0",), layers=1)
    folder = save(model, spelling, tmp_path / "model")
    result = trim_model(str(folder), version, out=tmp_path / "out", min_count=7, quiet=True)

    assert result.splits["validation"].same_rows < 12
    assert result.scores is not None
    assert result.scores.answers_changed == 0
    assert result.splits["validation"].tokens == sum(
        len(row[name].split()) for row in rows for name in ("a", "b")
    )


def test_a_family_that_counts_from_padding_keeps_its_number(tmp_path: Path) -> None:
    tokenizer = make_tokenizer((*WORDS, "<pad>"))
    tokenizer.pad_token = "<pad>"
    model = make_model("roberta", tokenizer)
    folder = save(model, tokenizer, tmp_path / "model")
    source = open_source(str(folder), SENTIMENT)
    kept = source.vocabulary.seen(np.zeros(source.vocabulary.size, dtype=np.int64), 1)
    (tmp_path / "small").mkdir()
    with pytest.raises(ModelInvalid, match="counts positions from the number of its padding"):
        write_trimmed(source, kept.tolist(), tmp_path / "small")


def test_a_tokenizer_of_whole_words_is_refused(version: Version, tmp_path: Path) -> None:
    core = Tokenizer(models.WordLevel({"[UNK]": 0, "[PAD]": 1, "good": 2}, unk_token="[UNK]"))
    tokenizer = transformers.PreTrainedTokenizerFast(
        tokenizer_object=core, unk_token="[UNK]", pad_token="[PAD]"
    )
    folder = save(make_bert(tokenizer, layers=1), tokenizer, tmp_path / "model")
    out = tmp_path / "out"
    found = CliRunner().invoke(app, ["trim", str(folder), str(version.path), "--out", str(out)])

    assert found.exit_code == 4
    assert "WordLevel, which cannot be trimmed" in found.stderr
    assert not out.exists()


def test_rows_are_compared_piece_by_piece() -> None:
    def of(*rows: list[int]) -> Pieces:
        return Pieces(np.array([*chain(*rows)], dtype=np.int64), np.array([*map(len, rows)]))

    new = np.array([0, 1, 2, -1, 3])
    before = of([0, 4], [], [1, 3, 2], [4, 4], [0, 2, 1], [1])
    after = of([0, 3], [], [1, 2, 2, 2], [3, 3, 3], [0, 2, 2], [2])
    found = compare(before, after, new, unknown=1)

    assert found.same.tolist() == [True, True, False, False, False, False]
    assert found.broken.tolist() == [False, False, False, True, False, False]
    assert found.kept.tolist() == [2, 0, 2, 2, 3, 1]
    assert found.unknown.tolist() == [0, 0, 1, 0, 1, 1]
    assert found.new_unknown.tolist() == [0, 0, 1, 0, 0, 0]


def test_a_trimmed_model_has_its_card(small: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    card = (small / CARD).read_text()

    assert re.search(r"[\d,]+ of [\d,]+ tokens", card)
    assert results(card)[0]["dataset"]["split"] == "validation"
    assert len(runs_as_it_says(small, monkeypatch)) == 2
