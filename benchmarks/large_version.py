"""A version of any number of rows, quickly: words are drawn blindly, no model is asked.

Rows stream through the writer that ``augment run`` uses, so shards are those of a real run. What is
missing is what no reader of the rows looks at: a recipe, models, and counts.
"""

from __future__ import annotations

import hashlib
import random
import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa

from augment.contract import Manifest, SourceSplit, Version, arrow_schema, open_version
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
    files = describe_files(data, ["train", HELD_OUT])
    digest = hashlib.sha256("".join(file.sha256 for file in files).encode()).hexdigest()
    return Manifest(
        contract=1,
        algorithm=1,
        id=digest,
        version=data.parent.name,
        task=TASK,
        recipe={},
        source="repeated pairs",
        sources=tuple(SourceSplit(split=f.split, rows=f.rows, sha256=f.sha256) for f in files),
        assets=(),
        files=files,
        counts={},
        libraries={},
        created="2026-01-01T00:00:00Z",
    )


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
