"""Writes RESULTS.md and its pictures from committed results: ``python -m docs.tools.results``.

A test compares. No figure is typed here: each section names the files that it is made from, their
digests, the command and the machine, and the last table lists every file of results there is.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from docs.tools import few_labels, paper, sections
from docs.tools.charts import picture
from docs.tools.table import RESULTS, ROOT, results

PAGE, IMAGES = ROOT / "RESULTS.md", ROOT / "docs" / "images"
INTRODUCTION = """\
# Results

What was measured, from the files in [benchmarks/results](benchmarks/results/real_tasks.json).
Page and pictures are made from them by `python -m docs.tools.results`: no figure is typed, and a
test fails where page and files differ. Each section names its files with the first digits of their
SHA-256 (`sha256sum benchmarks/results/*.json`), the command that made them and the machine; the
[last table](#every-file-of-figures) has every file. Commands named `python -m benchmarks.…` make
everything anew.

"""
OTHER_COMMANDS = {
    "real_tasks_changes": "`python -m benchmarks.real_tasks --arms`, several releases",
    "reductions": "`python -m benchmarks.real_tasks --arms masked-300 official-300`",
    "accelerator_h200_profile": "`torch.profiler` around `benchmarks.accelerator`",
    "distill_speed_quick": "`python -m benchmarks.distill_speed --quick`",
    "distill_speed_slow_bfloat16": "`python -m benchmarks.distill_speed --quick --threads 1`",
    "augment_speed_quick": "`python -m benchmarks.augment_speed --quick`",
    "small_sets_head": "`python -m benchmarks.small_sets`, rates of the head",
    "vectors_search": "two forms of the search in one process",
    "token_vectors": "tries before `onnx-small`, beside `benchmarks.student_to_answer`",
    "general_start": "`distill general --init START`",
    "ablate_cola": "`distill ablate`",
    "sample_start_unfitted": "`python -m benchmarks.sample_start` with the narrowing of the "
    "release before, which fitted norms alone to the student",
    "ticket_rows": "`python -m benchmarks.ticket_rows` of the release before, which fitted norms "
    "alone to the student",
    "narrowing_unfitted": "`python -m benchmarks.narrowing` with the narrowing of the release "
    "before, which fitted norms alone to the student",
    "accelerator_h200": "`python -m benchmarks.accelerator`",
}
"""Of files that are not named as their benchmark is."""


@dataclass(frozen=True, slots=True)
class Part:
    """A section of the page.

    Attributes:
        title: Its heading.
        files: That it is made from, without ``.json``; where one is not there yet, it is left out.
        body: Makes its text from what they hold.
        pictures: Their names, and what makes each; nothing where there is nothing to be drawn.
    """

    title: str
    files: tuple[str, ...]
    body: Callable[..., str]
    pictures: Mapping[str, Callable[..., str]]

    @property
    def is_there(self) -> bool:
        """Whether its files are committed."""
        return all((RESULTS / f"{name}.json").is_file() for name in self.files)

    def found(self) -> list[dict[str, Any]]:
        """What its files hold."""
        return [results(f"{name}.json") for name in self.files]

    def drawn(self) -> dict[str, str]:
        """Its pictures, drawn once as long as its files are the same."""
        key = (self.title, *map(digest, self.files))
        if key not in _DRAWN:
            every = {name: draw(*self.found()) for name, draw in self.pictures.items()}
            _DRAWN[key] = {name: svg for name, svg in every.items() if svg}
        return _DRAWN[key]


_DRAWN: dict[tuple[str, ...], dict[str, str]] = {}


def digest(name: str) -> str:
    """The first digits of a file's SHA-256."""
    return hashlib.sha256((RESULTS / f"{name}.json").read_bytes()).hexdigest()[:12]


def command(name: str) -> str:
    """What makes a file of results."""
    if name in OTHER_COMMANDS:
        return OTHER_COMMANDS[name]
    if name.startswith("soak_"):
        return "`make soak`"
    if not (ROOT / "benchmarks" / f"{name}.py").is_file():
        raise ValueError(f"what made {name}.json? Say it in OTHER_COMMANDS")
    return f"`python -m benchmarks.{name}`"


def machine(found: Mapping[str, Any]) -> str:
    """Where it was measured, as the file says it: the last machine, and others of its lines."""
    parts = [own for own in found.values() if isinstance(own, dict)]
    own = [part["machine"] for part in (found, *parts) if "machine" in part]
    last = _machine(own[0]) if own else ""
    lines = [line for line in found.get("lines", []) if isinstance(line, dict)]
    named = [line["machine"] for line in lines if "machine" in line]
    own += [name for name in named if not last.startswith(f"{name};")]
    return " / ".join(dict.fromkeys(map(_machine, own))) or "not in the file"


def _machine(own: str | Mapping[str, Any]) -> str:
    if isinstance(own, str):
        return own
    kind = own.get("kind") or own.get("capability")
    said = [f"{own['processor']}, {kind}" if kind else own["processor"]]
    said += [f"{own['threads']} of {own['cores']} cores", f"torch {own['torch']}"]
    return "; ".join([*said, f"load {own['load']}"])


def seconds_of(found: Mapping[str, Any]) -> float:
    """Wall seconds of all lines that have them."""
    lines = [line for line in found.get("lines", []) if isinstance(line, dict)]
    return float(sum(line.get("seconds", 0.0) for line in lines))


def origin(part: Part) -> str:
    """Where the figures of a section are from."""
    said = []
    for name, found in zip(part.files, part.found(), strict=True):
        spent = seconds_of(found)
        hours = f" · {spent / 3600:.1f} hours for {len(found['lines'])} runs" if spent else ""
        said.append(
            f"[{name}.json](benchmarks/results/{name}.json) `{digest(name)}` · {command(name)} · "
            f"{machine(found)}{hours}"
        )
    return "From " + "\n\nand ".join(said) + ".\n"


def pages_about(name: str) -> list[str]:
    """Pages that name a file of results or its benchmark, nearest first."""
    pages = [ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").rglob("*.md"))]
    pattern = re.compile(rf"results/{name}\.json|benchmarks[./]{name}\b")
    found = [page for page in pages if pattern.search(page.read_text(encoding="utf-8"))]
    return [page.relative_to(ROOT).as_posix() for page in found]


def every_file() -> str:
    """A line for each file of results."""
    rows = []
    for file in sorted(RESULTS.glob("*.json")):
        name, found = file.stem, results(file.name)
        pages = ", ".join(f"[{page}]({page})" for page in pages_about(name)) or "–"
        line = [f"[{name}](benchmarks/results/{name}.json)", f"`{digest(name)}`", command(name)]
        rows.append([*line, machine(found), pages])
    heads = ("file", "SHA-256", "made by", "machine", "pages that use it")
    lines = (heads, ["---"] * len(heads), *rows)
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


PARTS = (
    Part(
        "A teacher of BERT-base's size", ("paper_size",), paper.paper_size,
        {
            "paper-retention": paper.retention, "paper-steps": paper.learning,
            "paper-size": paper.by_size,
        },
    ),
    Part(
        "A teacher of BERT-base's size, served", ("paper_served",), paper.served,
        {"paper-latency": paper.latency},
    ),
    Part("Beside the released scripts", ("released_scripts",), paper.released, {}),
    Part(
        "Whole GLUE training sets", ("real_tasks",), sections.whole_tasks,
        {"retention": sections.retention},
    ),
    Part(
        "From raw text to an answer", ("student_to_answer",), sections.served,
        {"score-size": sections.size, "score-latency": sections.latency},
    ),
    Part(
        "Few labels", ("low_resource",), few_labels.few_labels,
        {"few-labels-rows": few_labels.by_rows, "few-labels-steps": few_labels.by_steps},
    ),
    Part(
        "Where a narrower student starts", ("narrowing", "narrowing_unfitted"),
        sections.narrowing, {},
    ),
    Part(
        "What a start is worth in few steps", ("sample_start", "sample_start_unfitted"),
        sections.sample_start, {},
    ),
    Part("Rows for few tickets", ("ticket_rows",), sections.ticket_rows, {}),
    Part("Who teaches a general student", ("general_teachers",), sections.general_teachers, {}),
    Part("Forms of a student, timed", ("serving",), sections.serving, {}),
    Part("Small sets", ("small_sets",), sections.small_sets, {}),
    Part("Token vectors", ("token_vectors",), sections.token_vectors, {}),
    Part("An accelerator", ("accelerator_h200",), sections.accelerator, {}),
)  # fmt: skip


def overview() -> str:
    """README's picture: what is kept, of the largest teacher that there is; what answers take."""
    answers = results("student_to_answer.json")
    own, kept = sections, results("real_tasks.json")
    if PARTS[0].is_there:
        largest = results("paper_size.json")
        if paper.is_whole(largest) and paper.retention_panels(largest):
            own, kept = paper, largest
    told = own.retention_said(kept), sections.trade_off_said(answers, *COST[:2])
    panels = [*own.retention_panels(kept), sections.trade_off(answers, *COST)]
    return picture("results", panels, " ".join(told))


COST = "tickets", "batch_1_ms", "ms a text, raw text to label"


def page() -> str:
    """The whole page."""
    return INTRODUCTION + "\n".join(_sections())


def _sections() -> Iterator[str]:
    for part in PARTS:
        if part.is_there:
            shown = "".join(f"![{part.title}](docs/images/{name}.svg)\n\n" for name in part.drawn())
            yield f"## {part.title}\n\n{shown}{part.body(*part.found())}\n{origin(part)}"
    yield f"## Every file of figures\n\n{every_file()}"


def pictures() -> dict[Path, str]:
    """Every picture by its place."""
    every = {"results": overview()}
    for part in PARTS:
        every |= part.drawn() if part.is_there else {}
    return {IMAGES / f"{name}.svg": svg for name, svg in every.items()}


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
    for place, drawn in pictures().items():
        place.write_text(drawn, encoding="utf-8")
