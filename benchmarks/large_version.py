"""A version of any number of rows, quickly: words are drawn blindly, no model is asked.

Rows stream through the writer that ``augment run`` uses, so shards are those of a real run. What is
missing is what no reader of the rows looks at: a recipe, models, and counts.
"""

from __future__ import annotations

import random
import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa

from augment.contract import Manifest, Version, arrow_schema, identity, open_version
from augment.contract.version import source_of
from augment.tasks import get_task
from augment.versions.parquet import describe_files, write_split
from benchmarks.pairs import mnli_pairs

VARIANTS = 20
EDITED = 2
ROWS_AT_ONCE = 20_000
HELD_OUT = "validation_matched"
TASK = get_task("mnli").spec
Row = dict[str, Any]


def large_version(root: Path, rows: int) -> Version:
    """Write ``rows`` training rows of MNLI, or open the version that an earlier call wrote.

    Args:
        root: Of the versions.
        rows: Source rows repeat under new numbers until there are so many.
    """
    path = root / TASK.name / "v0001"
    if (path / "manifest.json").is_file():
        found = open_version(path)
        if found.rows("train") == rows:
            return found
    shutil.rmtree(path, ignore_errors=True)
    data, schema = path / "data", arrow_schema(TASK)
    data.mkdir(parents=True)
    pairs, held_out = mnli_pairs()
    write_split(data, "train", _tables(pairs.to_pylist(), rows, schema), schema)
    write_split(data, HELD_OUT, [_untouched(held_out, schema)], schema)
    (path / "manifest.json").write_text(_manifest(data).to_json(), encoding="utf-8")
    return open_version(path)


def _manifest(data: Path) -> Manifest:
    """The manifest of the files: what it says of the source rows is read back from them."""
    task, files = TASK, describe_files(data, ["train", HELD_OUT])
    draft = Manifest(
        contract=1,
        algorithm=1,
        id="0" * 64,
        version=data.parent.name,
        task=task,
        recipe={},
        source="repeated pairs",
        sources=(),
        assets=(),
        files=files,
        counts={},
        libraries={},
        created="2026-01-01T00:00:00Z",
    )
    version = Version(data.parent, draft)
    sources = tuple(source_of(version, split) for split in ("train", HELD_OUT))
    made = identity(algorithm=1, task=task, recipe={}, sources=sources, assets=())
    return draft.model_copy(update={"id": made, "sources": sources}).sealed()


def _untouched(pairs: pa.Table, schema: pa.Schema) -> pa.Table:
    rows = [{**row, "variant": 0, "edits": []} for row in pairs.to_pylist()]
    return pa.Table.from_pylist(rows, schema=schema)


def _tables(pairs: list[Row], rows: int, schema: pa.Schema) -> Iterator[pa.Table]:
    words = sorted({word for pair in pairs for word in pair["hypothesis"].split()})
    draw = random.Random(0)
    held: list[Row] = []
    for source in range(-(-rows // VARIANTS)):
        held += _variants({**pairs[source % len(pairs)], "idx": source}, words, draw)
        if len(held) >= ROWS_AT_ONCE:
            yield pa.Table.from_pylist(held[:rows], schema=schema)
            rows, held = rows - len(held), []
    yield pa.Table.from_pylist(held[:rows], schema=schema)


def _variants(pair: Row, words: list[str], draw: random.Random) -> Iterator[Row]:
    """A row and its variants, in each of which words of the premise are others."""
    yield {**pair, "variant": 0, "edits": []}
    text = pair["premise"]
    spans = [match.span() for match in re.finditer(r"\S+", text)]
    for variant in range(1, VARIANTS):
        edits, parts, at = [], [], 0
        for start, end in sorted(draw.sample(spans, min(EDITED, len(spans)))):
            new = words[int(draw.random() * len(words))]
            parts += [text[at:start], new]
            edits.append(_edit(start, end, text[start:end], new))
            at = end
        changed = "".join([*parts, text[at:]])
        yield {**pair, "premise": changed, "variant": variant, "edits": edits}


def _edit(start: int, end: int, before: str, after: str) -> Row:
    return {
        "column": "premise",
        "start": start,
        "end": end,
        "before": before,
        "after": after,
        "source": "mask",
    }
