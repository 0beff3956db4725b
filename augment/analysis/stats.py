"""What a version is like, and how two versions differ: figures for people and as JSON."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow.compute as pc

from augment.contract import GENERATOR, SOFT_LABELS, Version, open_version
from augment.contract.foreign import Displayed
from augment.sources.digests import normalized


@dataclass(frozen=True, slots=True, repr=False)
class VersionStats(Displayed):
    """Figures of a version's training split.

    Attributes:
        rows: Originals and generated rows.
        source_rows: Originals alone.
        replaced_per_row: Replaced words of a generated row, by source.
        replacement_rate: Replaced words of all words in generated rows.
        distinct_1: Distinct words of all words, originals and generated rows apart.
        distinct_2: The same for pairs of neighboring words.
        words_per_text: Mean words of a text, originals and generated rows apart.
        labels: Share of each label, originals and generated rows apart.
        duplicates: Generated rows whose texts occur earlier in the split but for case and spaces.
        identity_rate: Drawn samples that equalled their original, of all drawn.
        unlabeled_rows: Rows without labels, originals and generated rows apart.
        soft_labels: Of the originals with and without labels: rows with a distribution, and its
            mean entropy in nats (0: certain).
        generators: Of the rows to train on, with and without labels: how many each generator made.
    """

    reference: str
    rows: int
    source_rows: int
    replaced_per_row: dict[str, float]
    replacement_rate: float
    distinct_1: dict[str, float]
    distinct_2: dict[str, float]
    words_per_text: dict[str, float]
    labels: dict[str, dict[str, float]]
    duplicates: int
    identity_rate: float
    unlabeled_rows: dict[str, int]
    soft_labels: dict[str, dict[str, float]]
    generators: dict[str, dict[str, int]]


@dataclass(frozen=True, slots=True, repr=False)
class Difference(Displayed):
    """How version B differs from version A.

    Attributes:
        first, second: References of A and B.
        task: Key of the task → values of A and B, where they differ.
        assets: Kind of model or vectors → digests of A and B, where they differ.
        sources: Split → digests of the rows that were read, where they differ.
        derivation: What it was made of other than by a run → values of A and B, where they differ.
        recipe: Recipe key → values of A and B, where they differ.
        counts: Count name → values of A and B, where they differ.
        only_in_first, only_in_second: Rows (by split, source row and variant) that one alone has.
        changed: Rows both have, with other texts.
        examples: Some changed rows: split, source row, variant, texts of A and B.
    """

    first: str
    second: str
    task: dict[str, tuple[Any, Any]]
    assets: dict[str, tuple[Any, Any]]
    sources: dict[str, tuple[Any, Any]]
    derivation: dict[str, tuple[Any, Any]]
    recipe: dict[str, tuple[Any, Any]]
    counts: dict[str, tuple[Any, Any]]
    only_in_first: int
    only_in_second: int
    changed: int
    examples: tuple[dict[str, Any], ...]


def version_stats(version: Version | str | Path) -> VersionStats:
    """Read the training split once and count; of rows without labels less is told.

    Examples:
        >>> from augment import stats
        >>> stats("data/versions/reviews@v0001").source_rows
        40
    """
    version = _opened(version)
    task, train = version.task, version.to_pandas(version.task.splits.train)
    parts = {"original": train[train.variant == 0], "generated": train[train.variant > 0]}
    texts = {name: _texts(part, version) for name, part in parts.items()}
    sources = Counter(edit["source"] for edits in parts["generated"].edits for edit in edits)
    generated = max(len(parts["generated"]), 1)
    all_words = sum(len(text.split()) for text in texts["generated"])
    keys = train[list(task.text_columns)].map(normalized)
    counts = version.manifest.counts
    drawn = sum(n for name, n in counts.items() if name.startswith("dropped."))
    drawn += counts.get("rows.augmented", 0)
    return VersionStats(
        reference=version.reference,
        rows=len(train),
        source_rows=len(parts["original"]),
        replaced_per_row={name: n / generated for name, n in sorted(sources.items())},
        replacement_rate=sum(sources.values()) / max(all_words, 1),
        distinct_1={name: _distinct(part, 1) for name, part in texts.items()},
        distinct_2={name: _distinct(part, 2) for name, part in texts.items()},
        words_per_text={name: _mean_words(part) for name, part in texts.items()},
        labels={name: _label_shares(part, version) for name, part in parts.items()},
        duplicates=int((keys.duplicated() & (train.variant > 0)).sum()),
        identity_rate=counts.get("dropped.identity", 0) / max(drawn, 1),
        unlabeled_rows=_unlabeled_rows(version),
        soft_labels=_soft_labels(version),
        generators=made_by(version),
    )


def made_by(version: Version) -> dict[str, dict[str, int]]:
    """How many rows each generator made of every split to train on; old versions do not say."""
    found: dict[str, dict[str, int]] = {}
    for split in version.trained if GENERATOR in version.schema().names else ():
        counts = Counter[str]()
        for batch in version.batches(split, [GENERATOR]):
            for each in pc.value_counts(batch[GENERATOR].drop_null()).to_pylist():
                counts[each["values"]] += each["counts"]
        if counts:
            found[split] = dict(sorted(counts.items()))
    return found


def _opened(version: Version | str | Path) -> Version:
    return version if isinstance(version, Version) else open_version(version)


def _unlabeled_rows(version: Version) -> dict[str, int]:
    split = version.task.splits.unlabeled
    if split is None or split not in version.splits:
        return {}
    originals = 0
    for batch in version.batches(split, ["variant"]):
        originals += pc.sum(pc.equal(batch["variant"], 0)).as_py() or 0
    return {"original": originals, "generated": version.rows(split) - originals}


def _soft_labels(version: Version) -> dict[str, dict[str, float]]:
    """Rows with a distribution and its mean entropy, for each split that has some."""
    found: dict[str, dict[str, float]] = {}
    for split in version.trained if version.manifest.soft_labels else ():
        rows, entropy = 0, 0.0
        for batch in version.batches(split, ["variant", SOFT_LABELS]):
            kept = batch.filter(pc.equal(batch["variant"], 0))[SOFT_LABELS].drop_null()
            rows += len(kept)
            p = kept.flatten().to_numpy().astype(np.float64)
            entropy -= float(np.sum(p * np.log(np.where(p > 0, p, 1.0))))
        if rows:
            found[split] = {"rows": rows} | _mean_entropy(version, entropy / rows)
    return found


def _mean_entropy(version: Version, nats: float) -> dict[str, float]:
    """Nothing for scores, which are no distributions."""
    return {} if version.task.label.kind == "regression" else {"entropy": nats}


def difference(
    first: Version | str | Path, second: Version | str | Path, examples: int = 5
) -> Difference:
    """Compare recipes, counts and the rows to train on of two versions of one task.

    Examples:
        >>> from augment import diff
        >>> diff("data/versions/reviews@v0001", "data/versions/reviews").changed
        0
    """
    first, second = _opened(first), _opened(second)
    a, b = _keyed(first, "a"), _keyed(second, "b")
    both = a.join(b, how="inner")
    changed = both[both.a != both.b]
    return Difference(
        first=first.reference,
        second=second.reference,
        task=_differing(*(v.task.model_dump(mode="json") for v in (first, second))),
        assets=_differing(
            *({str(a.kind): a.sha256[:12] for a in v.manifest.assets} for v in (first, second))
        ),
        sources=_differing(
            *({s.split: s.sha256[:12] for s in v.manifest.sources} for v in (first, second))
        ),
        derivation=_differing(_derivation(first), _derivation(second)),
        recipe=_differing(first.manifest.recipe, second.manifest.recipe),
        counts=_differing(first.manifest.counts, second.manifest.counts),
        only_in_first=len(a) - len(both),
        only_in_second=len(b) - len(both),
        changed=len(changed),
        examples=tuple(
            {
                "split": key[0],
                "idx": int(key[1]),
                "variant": int(key[2]),
                "first": row.a,
                "second": row.b,
            }
            for key, row in zip(changed.index[:examples], changed.itertuples(), strict=False)
        ),
    )


def _derivation(version: Version) -> dict[str, str]:
    """How a version was made of others, in words; empty where ``augment run`` made it."""
    made = version.manifest.derivation
    if made is None:
        return {}
    parents = ", ".join(f"{each.reference} ({each.id[:12]})" for each in made.parents)
    added = ", ".join(f"{each.generator} ({each.sha256[:12]})" for each in made.added)
    return {"command": made.command, "from": parents, "added": added}


def _keyed(version: Version, name: str) -> pd.DataFrame:
    """A named column with one text a row (columns joined), by split, source row and variant."""
    columns, frames = list(version.task.text_columns), []
    for split in version.trained:
        rows = version.table(split, [*columns, "idx", "variant"]).to_pandas()
        joined = rows[columns].agg(" | ".join, axis=1)
        index = [[split] * len(rows), rows.idx, rows.variant]
        frames.append(pd.DataFrame({name: joined.to_numpy()}, index=index))
    return pd.concat(frames)


def _texts(part: pd.DataFrame, version: Version) -> list[str]:
    return [text for column in version.task.text_columns for text in part[column]]


def _distinct(texts: list[str], n: int) -> float:
    """Distinct-n: distinct n-grams of all n-grams."""
    grams: Counter[tuple[str, ...]] = Counter()
    for text in texts:
        words = text.lower().split()
        grams.update(zip(*(words[i:] for i in range(n)), strict=False))
    return len(grams) / max(grams.total(), 1)


def _mean_words(texts: list[str]) -> float:
    return sum(len(text.split()) for text in texts) / max(len(texts), 1)


def _label_shares(part: pd.DataFrame, version: Version) -> dict[str, float]:
    label = version.task.label
    values = part[label.column]
    if label.kind == "regression":
        return {"mean": float(values.mean()), "sd": float(values.std())}
    shares = values.value_counts(normalize=True)
    return {name: float(shares.get(i, 0.0)) for i, name in enumerate(label.names)}


def _differing(first: dict[str, Any], second: dict[str, Any]) -> dict[str, tuple[Any, Any]]:
    keys = [key for key in {**first, **second} if first.get(key) != second.get(key)]
    return {key: (first.get(key), second.get(key)) for key in sorted(keys)}


def lines(value: object) -> list[str]:
    """A dataclass of figures as aligned lines."""
    aligned = []
    for name in value.__dataclass_fields__:  # type: ignore[attr-defined]
        content = getattr(value, name)
        if isinstance(content, float):
            shown = f"{content:.3f}"
        elif isinstance(content, dict):
            shown = " · ".join(f"{key} {_short(inner)}" for key, inner in content.items()) or "-"
        elif isinstance(content, tuple):
            continue
        else:
            shown = f"{content:,}" if isinstance(content, int) else str(content)
        aligned.append(f"{name.replace('_', ' '):18} {shown}")
    return aligned


def _short(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:.3f}"
    if isinstance(value, tuple):
        return f"{value[0]} → {value[1]}"
    if isinstance(value, dict):
        return "(" + ", ".join(f"{key} {_short(inner)}" for key, inner in value.items()) + ")"
    return json.dumps(value, ensure_ascii=False)
