"""A task file for one's own data: drafted from one file, with or without its splits."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from augment.sources.drafts import Draft
from augment.sources.infer import draft_of
from augment.sources.splitting import parse_shares
from augment.sources.write_splits import WrittenSplits, split_file


def draft_task(
    data: str | Path,
    *,
    split: str | None = None,
    text: Sequence[str] | str = (),
    label: str | None = None,
    seed: int = 0,
    out: str | Path | None = None,
    unlabeled: Sequence[str] | str = (),
    skip_malformed: bool = False,
) -> Draft | WrittenSplits:
    """Find out what the columns of a file are; with ``split`` also write splits and a task file.

    Args:
        data: A CSV, TSV, JSON or Parquet file.
        split: Shares of training, validation and test rows, ``70/15/15``, or ``80/20``.
        text: The column of the text, if another than is found; two for a pair.
        label: The column of the label, if another than is found.
        seed: Decides which rows go into which split.
        out: Where splits and task file go; by default beside the file.
        unlabeled: Files of rows without labels, for the task file.
        skip_malformed: Leave malformed rows out, counted.

    Returns:
        What the file was taken for, ``toml()`` being the task file; with ``split`` what was
        written, ``task`` being the path of the task file.

    Raises:
        SourceInvalid: It cannot be said what is text and what is label, or a row is malformed.
        UsageError: A column is not there, or the shares are none.

    Examples:
        >>> from augment import draft_task
        >>> draft = draft_task("tickets.csv")
        >>> draft.texts, draft.label, draft.names
        (('message',), 'team', ('food', 'price', 'room', 'staff'))
    """
    path, texts = Path(data), [text] if isinstance(text, str) else list(text)
    shares = None if split is None else parse_shares(split)
    draft = draft_of(path, texts=texts, label=label)
    if shares is None:
        return draft
    others = [unlabeled] if isinstance(unlabeled, str) else list(unlabeled)
    place = None if out is None else Path(out)
    return split_file(
        draft, shares, seed=seed, out=place, unlabeled=others, skip_malformed=skip_malformed
    )
