"""Versions that were forged or damaged, each read in every way.

An answer is refused with a sentence or is that of the version as it was made; none is silently
another. ``verify`` finds everything.
"""

from __future__ import annotations

import gzip
import hashlib
import json
import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import datasets
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from typer.testing import CliRunner

from augment.analysis.stats import difference, version_stats
from augment.cli import app
from augment.contract import (
    ContractError,
    FileDamaged,
    Version,
    identity,
    list_versions,
    open_checked,
    open_version,
    rejected_schema,
    verify,
)
from augment.contract.manifest import Manifest, checksum_of
from augment.versions import parquet
from augment.versions.rows import ChunkOutput
from augment.versions.staging import commit, open_staging
from distill.data.versions import batches, count_split, sample
from tests.contract.conftest import OTHERS, TASK, draft, rows

TRAIN, VALIDATION, TEST = (
    "data/train-00000-of-00002.parquet",
    "data/validation-00000-of-00001.parquet",
    "data/test-00000-of-00001.parquet",
)
REFUSED = "rejected/train-00000-of-00001.parquet"
Raw = dict[str, Any]


@pytest.fixture(scope="module", autouse=True)
def _cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        folder = str(tmp_path_factory.mktemp("datasets"))
        patch.setattr(datasets.config, "HF_DATASETS_CACHE", folder)
        datasets.disable_progress_bars()
        yield
        datasets.enable_progress_bars()


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A version with two shards of its training split, and refused rows."""
    manifest = draft(keep_rejected=True)
    refused = rows().slice(1, 1).append_column("reason", pa.array(["leak"]))
    folder = tmp_path_factory.mktemp("made") / TASK.name
    with pytest.MonkeyPatch.context() as patch, open_staging(folder, manifest.id, 2) as staging:
        patch.setattr(parquet, "ROWS_A_GROUP", 2)
        patch.setattr(parquet, "SHARD_BYTES", 1)
        chunk = ChunkOutput(0, rows(), {}, refused.cast(rejected_schema(TASK)))
        staging.keep(chunk)
        path = commit(staging, manifest, 1, OTHERS)
    assert verify(open_version(path)) == 5
    return path


@pytest.fixture
def forged(made: Path, tmp_path: Path) -> Path:
    """A copy to forge."""
    return Path(shutil.copytree(made, tmp_path / TASK.name / made.name))


def every_row(version: Version) -> list[Any]:
    return [version.table(split).to_pylist() for split in version.splits]


READERS: dict[str, Callable[[Version], Any]] = {
    "table": every_row,
    "batches": lambda v: [list(map(pa.RecordBatch.to_pylist, batches(v, s))) for s in v.splits],
    "pandas": lambda v: v.to_pandas("train").to_json(),
    "rejected": lambda v: [batch.to_pylist() for batch in v.rejected()],
    "load": lambda v: {name: split[:] for name, split in v.load().items()},
    "stats": version_stats,
    "diff": lambda v: difference(v, v),
    "counts": lambda v: [str(count_split(v, split)) for split in v.splits],
    "sample": lambda v: sample(v, "train", 2).to_pylist(),
    "facts": lambda v: v.manifest.model_dump(exclude={"checksum", "files", "rejected"}),
}


def manifest(change: Callable[[Raw], Any], *, resealed: bool = True) -> Callable[[Path], None]:
    """A change of the manifest by someone who knows the checksum's rule, or not."""

    def forge(path: Path) -> None:
        file = path / "manifest.json"
        raw = json.loads(file.read_text())
        change(raw)
        if resealed:
            raw["checksum"] = checksum_of(raw)
        file.write_text(json.dumps(raw))

    return forge


def entry(raw: Raw, name: str) -> Raw:
    return next(file for file in raw["files"] + raw["rejected"] if file["path"] == name)


def exchange(one: Raw, other: Raw, *keys: str) -> None:
    for key in keys:
        one[key], other[key] = other[key], one[key]


def exchanged(*keys: str) -> Callable[[Raw], None]:
    return lambda raw: exchange(entry(raw, VALIDATION), entry(raw, TEST), *keys)


def replaced(name: str, content: Callable[[bytes], bytes]) -> Callable[[Path], None]:
    return lambda path: (path / name).write_bytes(content((path / name).read_bytes())) and None


def flipped(content: bytes) -> bytes:
    middle = len(content) // 3
    return content[:middle] + bytes([content[middle] ^ 1]) + content[middle + 1 :]


def described_again(path: Path) -> None:
    """The manifest follows the files: sizes, digests, rows, checksum."""

    def follow(raw: Raw) -> None:
        for file in raw["files"] + raw["rejected"]:
            content = (path / file["path"]).read_bytes()
            number = pq.ParquetFile(path / file["path"]).metadata.num_rows
            digest = hashlib.sha256(content).hexdigest()
            file.update(bytes=len(content), sha256=digest, rows=number)

    manifest(follow)(path)


def files_exchanged(path: Path) -> None:
    for name, other in ((VALIDATION, "aside"), (TEST, VALIDATION), ("aside", TEST)):
        (path / name).rename(path / other)


def exchanged_and_described(path: Path) -> None:
    files_exchanged(path)
    described_again(path)


def other_source_row(path: Path) -> None:
    table = pq.read_table(path / TRAIN)
    texts = pa.array(["other tea", *table["sentence"].to_pylist()[1:]])
    pq.write_table(table.set_column(0, table.schema.field(0), texts), path / TRAIN)
    described_again(path)


def not_utf8(path: Path) -> None:
    table = pq.read_table(path / VALIDATION)
    broken = pa.Array.from_buffers(
        pa.string(), 1, [None, pa.array([0, 3], pa.int32()).buffers()[1], pa.py_buffer(b"a\xffb")]
    )
    pq.write_table(table.set_column(0, table.schema.field(0), broken), path / VALIDATION)
    described_again(path)


def label_gone(path: Path) -> None:
    table = pq.read_table(path / VALIDATION)
    at = table.schema.get_field_index("label")
    null = pa.nulls(table.num_rows, pa.int64())
    pq.write_table(table.set_column(at, table.schema.field(at), null), path / VALIDATION)
    described_again(path)


def instead(make: Callable[[Path], object]) -> Callable[[Path], None]:
    def forge(path: Path) -> None:
        aside = path.parent / "aside.parquet"
        (path / TRAIN).rename(aside)
        make(path / TRAIN)

    return forge


def linked_folder(path: Path) -> None:
    (path / "data").rename(path.parent / "data")
    (path / "data").symlink_to(path.parent / "data")


def renamed(raw: Raw) -> None:
    entry(raw, VALIDATION)["path"] = "data/test-00001-of-00002.parquet"


def doubled_key(path: Path) -> None:
    file = path / "manifest.json"
    file.write_text(file.read_text().replace("{", '{"id": "' + "0" * 64 + '",', 1))


def at_path(name: str) -> Callable[[Path], None]:
    return manifest(lambda raw: entry(raw, TRAIN).update(path=name))


FORGED: dict[str, Callable[[Path], object]] = {
    "id zeroed": manifest(lambda raw: raw.update(id="0" * 64)),
    "id of another": manifest(lambda raw: raw.update(id=draft(seed=5).id)),
    "splits exchanged": manifest(exchanged("split")),
    "splits and paths exchanged": manifest(exchanged("split", "path")),
    "digests exchanged": manifest(exchanged("sha256")),
    "digests and sizes exchanged": manifest(exchanged("sha256", "bytes")),
    "a file of another split": manifest(renamed),
    "a shard less": manifest(lambda raw: raw["files"].pop(0)),
    "shards in another order": manifest(lambda raw: raw["files"].reverse()),
    "rows": manifest(lambda raw: entry(raw, TRAIN).update(rows=1)),
    "rows as text": manifest(lambda raw: entry(raw, TRAIN).update(rows="3")),
    "refused rows as data": manifest(lambda raw: raw["files"].append(raw["rejected"].pop())),
    "sources exchanged": manifest(lambda raw: exchange(*raw["sources"][1:], "sha256")),
    "source rows": manifest(lambda raw: raw["sources"][0].update(rows=1)),
    "a source less": manifest(lambda raw: raw["sources"].pop()),
    "recipe": manifest(lambda raw: raw["recipe"].update(variants=4)),
    "algorithm": manifest(lambda raw: raw.update(algorithm=2)),
    "asset": manifest(lambda raw: raw["assets"][0].update(sha256="d" * 64)),
    "labels exchanged": manifest(lambda raw: raw["task"]["label"]["names"].reverse()),
    "column": manifest(lambda raw: raw["task"].update(text_columns=["label"])),
    "teacher's logits": manifest(lambda raw: raw.update(teacher_logits=True)),
    "counts": manifest(lambda raw: raw["counts"].update({"rows.source": 9}), resealed=False),
    "measured": manifest(lambda raw: raw["measured"].update(x=1.0), resealed=False),
    "source": manifest(lambda raw: raw.update(source="other"), resealed=False),
    "label rule": manifest(lambda raw: raw.update(label_rule="positions"), resealed=False),
    "name": manifest(lambda raw: raw.update(version="v0007"), resealed=False),
    "contract": manifest(lambda raw: raw.update(contract=True)),
    "a key twice": doubled_key,
    "absolute": at_path("/etc/passwd"),
    "outside": at_path("data/../../x"),
    "device": at_path("/dev/zero"),
    "nul": at_path("data/\0"),
    "long": at_path(f"data/{'x' * 300}.parquet"),
    "surrogate": at_path("data/\udcff.parquet"),
    "a flipped bit": replaced(TRAIN, flipped),
    "a flipped bit in validation": replaced(VALIDATION, flipped),
    "a flipped bit in refused rows": replaced(REFUSED, flipped),
    "cut": replaced(TRAIN, lambda content: content[:-9]),
    "empty": replaced(TRAIN, lambda _: b""),
    "no parquet": replaced(TRAIN, lambda content: b"x" * len(content)),
    "gzip": replaced(TRAIN, gzip.compress),
    "pointer": replaced(TRAIN, lambda _: b"version https://git-lfs.github.com/spec/v1\n"),
    "files exchanged": files_exchanged,
    "files exchanged and described": exchanged_and_described,
    "another source row": other_source_row,
    "no utf-8": not_utf8,
    "no label": label_gone,
    "removed": lambda path: (path / TRAIN).unlink(),
    "folder removed": lambda path: shutil.rmtree(path / "data"),
    "version removed": shutil.rmtree,
    "manifest removed": lambda path: (path / "manifest.json").unlink(),
    "a stray file": lambda path: shutil.copy(path / TRAIN, path / "data" / "train-1.parquet"),
    "a stray refused file": lambda path: shutil.copy(path / REFUSED, path / "rejected" / "x"),
    "a folder": instead(Path.mkdir),
    "a pipe": instead(os.mkfifo),
    "a link": instead(lambda file: file.symlink_to(file.parents[2] / "aside.parquet")),
    "a link to a device": instead(lambda file: file.symlink_to("/dev/zero")),
    "a linked folder": linked_folder,
}  # fmt: skip
CARDS: dict[str, Callable[[Path], object]] = {
    "splits exchanged": replaced("README.md", lambda text: text.replace(b"data/test-", b"data/x-")),
    "name of the rows": replaced("README.md", lambda text: text.replace(b"remarks-", b"reviews-")),
    "removed": lambda path: (path / "README.md").unlink(),
    "a pipe": lambda path: ((path / "README.md").unlink(), os.mkfifo(path / "README.md")),
    "hidden settings": lambda path: (path / ".huggingface.yaml").write_text("configs: []\n"),
    "a script": lambda path: (path / "v0001.py").write_text("print()\n"),
    "infos": lambda path: (path / "dataset_infos.json").write_text("{}"),
}
"""What readers of other tools go by, and ours do not."""
RECOMPUTED = {"files exchanged and described", "another source row", "no label"}
"""Whoever computes every digest anew is found by ``verify``, which ``distill`` begins with."""


@pytest.fixture(scope="module")
def expected(made: Path) -> dict[str, str]:
    return {name: repr(read(open_version(made))) for name, read in READERS.items()}


def answers(version: Version) -> dict[str, str]:
    """What each reader says that does not refuse."""
    said = {}
    for name, read in READERS.items():
        with suppress(ContractError):
            said[name] = repr(read(version))
    return said


@pytest.mark.parametrize("forging", FORGED)
def test_no_reader_gives_another_answer(
    forged: Path, expected: dict[str, str], forging: str
) -> None:
    before = open_version(forged)
    FORGED[forging](forged)

    with pytest.raises(ContractError) as caught:
        verify(open_version(forged))
    assert caught.value.exit_code == 3
    if forging != "another source row":  # which is looked for among millions by verify alone
        with pytest.raises(ContractError):
            open_checked(forged)
    running = answers(before)  # a command that was at work when it happened
    assert running.items() <= expected.items()
    try:
        opened = open_version(forged)
    except ContractError:
        pass
    else:
        assert forging in RECOMPUTED or answers(opened).items() <= expected.items()
    listed = list(list_versions(forged.parent, skip_unreadable=True))
    assert all(repr(version.manifest.id) for version in listed)


@pytest.mark.parametrize("forging", CARDS)
def test_what_other_tools_go_by_is_verified(
    forged: Path, expected: dict[str, str], forging: str
) -> None:
    CARDS[forging](forged)

    assert answers(open_checked(forged)) == expected
    with pytest.raises(FileDamaged):
        verify(open_version(forged))


def test_notes_of_an_editor_are_no_fault(forged: Path) -> None:
    (forged / ".DS_Store").write_bytes(b"\0")

    assert verify(open_version(forged)) == 5


COMMANDS = {
    "list": ["list", "{root}"],
    "show": ["show", "{path}", "--rows", "9"],
    "rejected": ["show", "{path}", "--rejected"],
    "verify": ["verify", "{path}"],
    "stats": ["stats", "{path}"],
    "diff": ["diff", "{path}", "{path}"],
}


@pytest.mark.parametrize(
    "forging",
    ["a flipped bit", "cut", "empty", "pointer", "removed", "folder removed", "no utf-8", "a pipe",
     "splits exchanged", "id zeroed", "version removed", "a flipped bit in refused rows"],
)  # fmt: skip
@pytest.mark.parametrize("command", COMMANDS)
def test_commands_end_with_a_sentence(forged: Path, made: Path, command: str, forging: str) -> None:
    def run(path: Path) -> tuple[int, str]:
        words = [word.format(path=path, root=path.parent) for word in COMMANDS[command]]
        found = CliRunner().invoke(app, words)
        assert "unexpected" not in found.output
        return found.exit_code, found.output

    FORGED[forging](forged)
    code, output = run(forged)

    if (command, forging) == ("list", "version removed"):
        assert "no versions below" in output
        return
    assert code == 3 or output.replace(str(forged), str(made)) == run(made)[1]
    assert code == 3 or command != "verify"


def test_a_whole_forgery_is_another_version(forged: Path, made: Path) -> None:
    """Rows, digests, sources and checksum made anew: it verifies, under another id."""
    exchanged_and_described(forged)

    def follow(raw: Raw) -> None:
        exchange(*raw["sources"][1:], "sha256")
        parsed = Manifest.model_validate(raw)
        recipe = {key: value for key, value in raw["recipe"].items() if key != "preset"}
        raw["id"] = identity(
            algorithm=1, task=TASK, recipe=recipe, sources=parsed.sources, assets=parsed.assets
        )

    manifest(follow)(forged)

    assert verify(open_version(forged)) == 5
    assert open_version(forged).manifest.id != open_version(made).manifest.id


def test_a_version_of_before_has_no_checksum(forged: Path, expected: dict[str, str]) -> None:
    manifest(lambda raw: raw.pop("checksum"), resealed=False)(forged)
    version = open_version(forged)

    assert verify(version) == 5
    assert answers(version) == expected
