"""What a person sees of versions and previews: results on stdout, color on a terminal only."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from rich.cells import cell_len
from rich.table import Table
from rich.text import Text

from augment.contract import Derivation, Manifest, Version
from augment.contract.foreign import counted, shown
from augment.contract.terminal import labeled, open_console
from augment.replacement.edits import Edit

if TYPE_CHECKING:
    from augment.analysis.preview import TextPreview

stdout = open_console()
stderr = open_console(err=True)


def show_summary(version: Version) -> None:
    """The lines a finished run ends with."""
    manifest = version.manifest
    counts = manifest.counts
    train = version.rows(version.task.splits.train)
    bytes_ = sum(entry.bytes for entry in manifest.files)
    size = f"{bytes_ / 2**20:.1f} MB" if bytes_ > 2**20 // 10 else "under 0.1 MB"
    unlabeled = _unlabeled_rows(version)
    also = f" · {unlabeled:,} unlabeled" * bool(unlabeled)
    per_row = train / max(counts.get("rows.source", 1), 1)
    what = (
        f"{manifest.id[:6]}  {counted(train, 'row')} ({per_row:.1f} per source row){also} · "
        f"{size} · {counted(len(manifest.files), 'file')}"
    )
    stdout.print(Text.assemble("  ", (shown(version.reference), "bold"), f"  {what}"))
    if added := _added(counts):
        stdout.print(labeled("added", added))
    if dropped := _dropped(counts):
        stdout.print(labeled("dropped", dropped))
    replaced = {
        key.partition(".")[2].replace("_", " "): count
        for key, count in counts.items()
        if key.startswith("replaced.")
    }
    total = sum(replaced.values())
    if total:
        shares = " · ".join(f"{n / total:.0%} {k}" for k, n in sorted(replaced.items()))
        stdout.print(labeled("replaced", f"{counted(total, 'word')}: {shares}"))


def generates_nothing(recipe: Mapping[str, Any]) -> bool:
    """Whether a run's recipe asked for the rows as they are."""
    return recipe.get("variants") == 0 and not any(recipe.get("variants_of", {}).values())


def how_made(manifest: Manifest) -> str:
    """In few words: the recipe of a run; else the command, with what was added or which gates."""
    preset = manifest.recipe.get("preset", "")
    if (made := manifest.derivation) is None:
        return "as they are" if generates_nothing(manifest.recipe) else str(preset)
    added = ", ".join(each.generator for each in made.added)
    more = {"add": added, "filter": preset}.get(made.command, "")
    return f"{made.command} {more}".rstrip()


def derivation_line(derivation: Derivation) -> str:
    """What a version was made of."""
    parents = " + ".join(f"{each.reference} ({each.id[:6]})" for each in derivation.parents)
    added = [
        f"{counted(each.rows, 'row')} of {each.generator} ({each.name})"
        for each in derivation.added
    ]
    return " · ".join([derivation.command, *filter(None, [parents]), *added])


def _unlabeled_rows(version: Version) -> int:
    """How many rows without labels there are."""
    split = version.task.splits.unlabeled
    return version.rows(split) if split is not None and split in version.splits else 0


def _added(counts: Mapping[str, int]) -> str:
    """What came from other tools, and what of it is not as its source row says."""
    parts = [
        f"{n:,} {what}{name}"
        for key, n in counts.items()
        for kind, _, name in [key.partition(".")]
        if n and (what := _ADDED.get(kind)) is not None
    ]
    new = counts.get("unlabeled.added", 0)
    return " · ".join([*parts, *[f"{new:,} unlabeled"] * bool(new)])


_ADDED = {"added": "", "relabeled": "with another label than their source row: "}


def _dropped(counts: Mapping[str, int]) -> str:
    """What was left out, by reason: generated rows, then malformed rows of the source."""
    parts = [
        f"{n:,} {k.partition('.')[2]}" for k, n in counts.items() if k.startswith("dropped.") and n
    ]
    parts += [
        f"{n:,} unlabeled {k.partition('.')[2]}"
        for k, n in counts.items()
        if k in ("unlabeled.duplicate", "unlabeled.in_train", "unlabeled.leak") and n
    ]
    by_reason = [
        f"{n:,} {k.removeprefix('source.skipped.')}"
        for k, n in counts.items()
        if k.startswith("source.skipped.")
    ]
    if skipped := counts.get("source.skipped", 0):
        why = f" ({', '.join(by_reason)})" if by_reason else ""
        parts.append(f"{skipped:,} skipped{why}")
    return " · ".join(parts)


def show_versions(versions: list[Version]) -> None:
    """All versions of a root, one a line; on a narrow terminal without what tells least."""
    heads = ["version", "id", "recipe", "rows", "unlabeled", "created", "source"]
    rows = [heads]
    for version in versions:
        manifest = version.manifest
        cells = (
            version.reference,
            manifest.id[:6],
            how_made(manifest),
            f"{version.rows(version.task.splits.train):,}",
            f"{_unlabeled_rows(version):,}",
            manifest.created[:16].replace("T", " "),
            manifest.source,
        )
        rows.append([shown(cell) for cell in cells])
    spare = ["source", "created", "recipe", "id"] if stdout.is_terminal else []
    kept = [name for name in heads if name != "unlabeled" or any(map(_unlabeled_rows, versions))]
    widths = dict(zip(heads, _widths(rows), strict=True))
    while sum(widths[name] + 2 for name in kept) > stdout.width and spare:
        kept.remove(spare.pop(0))
    chosen = [[row[heads.index(name)] for name in kept] for row in rows]
    _print_rows(chosen, [at for at, name in enumerate(kept) if name in ("rows", "unlabeled")])
    if left := [name for name in heads if name not in kept and name != "unlabeled"]:
        stdout.print(f"  too narrow for {', '.join(left)}: augment show has them of each version")


def _widths(rows: list[list[str]]) -> list[int]:
    return [max(map(cell_len, column)) for column in zip(*rows, strict=True)]


def _print_rows(rows: list[list[str]], numbers: list[int]) -> None:
    """Cells as aligned lines, those of ``numbers`` to the right; the first row names them."""
    widths = _widths(rows)
    for at, row in enumerate(rows):
        cells = []
        for column, (cell, width) in enumerate(zip(row, widths, strict=True)):
            pad = " " * (width - cell_len(cell))
            cells.append(pad + cell if column in numbers else cell + pad)
        stdout.print(Text("  ".join(cells).rstrip(), style="" if at else "bold"))


def marked(text: str, edits: list[Edit]) -> Text:
    """A variant rebuilt from the original text with its replacements marked."""
    line, at = Text(), 0
    for edit in edits:
        line.append(shown(text[at : edit.start]))
        line.append(f"[{shown(edit.after)}]", style="bold green")
        at = edit.end
    return line.append(shown(text[at:]))


def show_preview(view: TextPreview, variants: int, top: int) -> None:
    """The preview as two blocks: words with candidates, then variants."""
    rows = [["word", "route", "candidates (score)"]]
    for word in view.words:
        best = " · ".join(f"{name} {score:.2f}" for name, score in word.candidates[:top])
        more = len(word.candidates) - top
        tail = f" · … {more} more" if more > 0 else ""
        none = "none" * (word.route in ("masked_lm", "vectors"))
        rows.append([shown(word.word), word.route.replace("_", " "), shown(best + tail or none)])
    if stdout.is_terminal:
        table = Table(*rows[0], box=None, pad_edge=False)
        for row in rows[1:]:
            table.add_row(*map(Text, row))
        stdout.print(table, soft_wrap=False)
    else:
        _print_rows(rows, [])
    stdout.print("\n  variants")
    for variant in view.variants[:variants]:
        stdout.print(f"  {variant.number:3}", marked(view.text, list(variant.edits)))
