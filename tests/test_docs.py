"""What docstrings cite of docs/method.md is there."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest

from docs.tools import few_labels, picture, results, sections, table

ROOT = Path(__file__).parents[1]
METHOD = (ROOT / "docs" / "method.md").read_text(encoding="utf-8")


def test_cited_sections_and_departures_exist() -> None:
    sources = [path for name in ("augment", "distill") for path in (ROOT / name).rglob("*.py")]
    text = "\n".join(path.read_text(encoding="utf-8") for path in sources)
    cited = set(re.findall(r"docs/method\.md,\s+(section|departure) (\d+(?:\.\d+)?)", text))
    sections = re.findall(r"^##+ (\d+(?:\.\d+)?) ", METHOD, re.MULTILINE)
    departures = re.findall(r"^\*\*(\d+)\. ", METHOD, re.MULTILINE)

    assert cited
    assert cited <= {("section", n) for n in sections} | {("departure", n) for n in departures}
    assert departures == [str(n) for n in range(1, len(departures) + 1)]


def test_the_threat_model_names_modules_and_tests_that_exist() -> None:
    """Each boundary has what checks it and what shows it."""
    text = (ROOT / "docs" / "threat-model.md").read_text(encoding="utf-8")
    rows = [line.strip("| ").split(" | ") for line in text.splitlines() if line.startswith("| ")]
    boundaries = [row for row in rows if row[0] not in ("boundary", "---")]

    assert len(boundaries) > 15
    for boundary, _, checked_by, shown_by in boundaries:
        modules, tests = (re.findall(r"`([^`]+)`", cell) for cell in (checked_by, shown_by))
        assert modules, boundary
        assert tests, boundary
        assert all(test.startswith("tests/") for test in tests), boundary
        assert [path for path in (*modules, *tests) if not (ROOT / path).is_file()] == []


def test_the_table_of_small_sets_is_that_of_the_results() -> None:
    text = (ROOT / "docs" / "small-sets.md").read_text(encoding="utf-8")
    results = json.loads((ROOT / "benchmarks/results/small_sets.json").read_text(encoding="utf-8"))
    rows = [line.strip("| ").split(" | ") for line in text.splitlines() if line.startswith("| ")]
    shown = {row[0]: row for row in rows if row[0] in results["sets"]}

    assert len(shown) >= 6
    for name, row in shown.items():
        arms = results["sets"][name]["arms"]
        first = {arm: scores["first"] for arm, scores in arms.items() if scores["first"]}
        *grid, default, behind = (cell.strip() for cell in row[2:])
        known = {f"{figure:.3f}" for figure in first.values()}
        best = max(score for arm, score in first.items() if arm != "before")
        assert row[1] == f"{arms['default']['mean']:.3f} ± {arms['default']['sd']:.3f}", name
        assert set(grid) - {"–"} <= known, name
        assert default == f"{first['default']:.3f}", name
        assert behind == f"{best - first['default']:.3f}", name


def test_the_tables_of_calibration_are_those_of_the_results() -> None:
    text = (ROOT / "docs" / "calibration.md").read_text(encoding="utf-8")
    found = json.loads((ROOT / "benchmarks/results/calibration.json").read_text(encoding="utf-8"))
    rows = [line.strip("| ").split(" | ") for line in text.splitlines() if line.startswith("| ")]

    for own in found["calibration"]:
        before, after = own["before"], own["after"]
        shifts = [
            f"{before[name]:.3f} → {after[name]:.3f}" for name in ("ece", "brier", "log_loss")
        ]
        start = [own["model"], own["split"], f"{own['temperature']:.2f}", f"{own['score']:.3f}"]
        assert [*start, *shifts] in rows
    total = sum(found["thresholds"]["rows"].values())
    for point in found["thresholds"]["cascade"]["points"]:
        cells = [f"{point['threshold']:.4f}", f"{point['handed_over'] / total:.1%}"]
        assert [*cells, f"{point['score']:.3f}", f"{point['milliseconds']:.1f}"] in rows


def test_the_table_of_trimming_is_that_of_the_results() -> None:
    text = (ROOT / "docs" / "trimming.md").read_text(encoding="utf-8")
    results = json.loads((ROOT / "benchmarks/results/trimming.json").read_text(encoding="utf-8"))
    rows = [line.strip("| ").split(" | ") for line in text.splitlines() if line.startswith("| ")]
    shown = [row for row in rows if row[0] in ("SST-2", "MRPC")]

    assert len(shown) == len(results["lines"])
    for row, found in zip(shown, results["lines"], strict=True):
        assert row[2] == f"{found['tokens']:,}"
        assert row[3] == f"{found['validation_tokens_kept']:.1%}"
        assert row[4] == f"{found['validation_rows_same']:.1%}"
        if "after" in found:
            assert row[6:8] == [f"{found['weight_bytes'] / 1e6:.1f}", f"{found['after']:.3f}"]
            assert row[8] == f"{100 * found['drop']:.1f}"


def test_the_picture_of_readme_is_what_its_script_makes() -> None:
    """``python -m docs.tools.picture``."""
    assert picture.TARGET.read_text(encoding="utf-8") == picture.picture()
    assert ElementTree.fromstring(picture.picture()).get("aria-label")


@pytest.mark.parametrize("page", table.PAGES, ids=lambda page: page.name)
def test_tables_of_results_are_what_their_script_makes(page: Path) -> None:
    """None is typed: ``python -m docs.tools.table``."""
    text, own = page.read_text(encoding="utf-8"), table.PAGES[page]()

    assert text == table.filled(text, own)
    assert len(own.splitlines()) >= 6


def test_results_and_their_pictures_are_what_their_script_makes() -> None:
    """After a file of results is new: ``python -m docs.tools.results``."""
    assert results.PAGE.read_text(encoding="utf-8") == results.page()
    for place, drawn in results.pictures().items():
        assert place.read_text(encoding="utf-8") == drawn, place
        assert ElementTree.fromstring(drawn).get("aria-label"), place


def test_results_tell_where_each_figure_is_from(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Another digit in a file, or a file more, and the page is out of date."""
    copy = tmp_path / "results"
    shutil.copytree(table.RESULTS, copy)
    monkeypatch.setattr(table, "RESULTS", copy)
    monkeypatch.setattr(results, "RESULTS", copy)
    before = results.page()
    file = copy / "gates.json"
    file.write_bytes(file.read_bytes() + b"\n")

    assert results.page() != before
    (copy / "new.json").write_text("{}", encoding="utf-8")
    with pytest.raises(ValueError, match=r"what made new\.json"):
        results.page()


def test_few_labels_are_drawn_by_rows_and_by_steps() -> None:
    line = {"task": "sst2", "student": "3x312", "seeds": 2, "sd": 0.01, "percent_of_teacher": 97.0}
    own = [
        line | {"rows": rows, "arm": f"distilled, {arm}{steps}", "mean": 0.8}
        for rows in (250, 1000)
        for arm in ("original", "+ augmented")
        for steps in ("", ", 3 x steps")
    ]
    lines = [one | {"seed": seed, "score": 0.79 + seed / 50} for one in own for seed in (0, 1)]
    found = {"steps": [600, 400], "table": own, "lines": lines[:-1]}

    assert "| distilled, original | 0.800 ± 0.010 (97%, 2) |" in few_labels.few_labels(found)
    for draw in (few_labels.by_rows, few_labels.by_steps):
        assert ElementTree.fromstring(draw(found)).get("aria-label")
    nothing = {**line, "rows": 250, "arm": "original", "mean": 0.8, "percent_of_teacher": None}
    assert "| original | 0.800 ± 0.010 (–, 2) |" in few_labels.few_labels(
        {**found, "table": [nothing]}
    )
    assert "| distilled, + augmented | +0.0 ± 0.0 (2) | +0.0 ± 0.0 (2) |" in few_labels.few_labels(
        found
    )
    told = few_labels.by_steps(found)
    assert (
        "SST-2, 3x312, 1,000 labels, distilled, + augmented 0.790" in told
    )  # of the seed that has both
    assert "SST-2, 3x312, 1,000 labels, distilled, original 0.800" in told
    assert few_labels.by_steps({**found, "lines": lines[:2]}) == ""


def test_what_is_better_than_none_is_told_seed_by_seed() -> None:
    half: dict[str, Any] = {"mean": 0.5, "sd": None}
    none = {"rows": 300, "way": "none", "seeds": 1, "macro_f1": half, "accuracy": half}
    none |= {"recall_of_rarest": half}
    above = {f"{metric} above none": {"mean": 0.012, "sd": 0.004} for metric in
             ("macro_f1", "accuracy", "recall_of_rarest")}  # fmt: skip
    long = none | above | {"way": "long", "seeds": 2, "accuracy": {"mean": 0.5, "sd": 0.25}}
    line = {"way": "none", "teacher": {"macro_f1": 0.75}}
    found = {"table": [none, long], "lines": [line], "steps": [3, 2], "variants": 8}

    told = sections.ticket_rows(found)

    assert "The teacher's macro F1: 0.750." in told
    assert "| none | 1 | 0.500 | 0.500 | 0.500 | – | – | – |" in told
    assert (
        "| long | 2 | 0.500 | 0.500 ± 0.250 | 0.500 | +1.2 ± 0.4 | +1.2 ± 0.4 | +1.2 ± 0.4 |"
        in told
    )


def test_two_starts_are_compared_seed_by_seed() -> None:
    def found(*scores: float) -> dict[str, Any]:
        own = {"shape": "1x64-128-4", "seeds": 2}
        lines = [{**own, "seed": at, "student, distilled": at_} for at, at_ in enumerate(scores)]
        table = [own | {"model": name, "mean": 0.5, "sd": 0.25} for name in
                 ("teacher", "student, distilled")]  # fmt: skip
        return {"table": table, "lines": lines}

    told = sections.sample_start(found(0.6, 0.8), found(0.5, 0.6))

    assert "| 1x64, distilled | 0.500 ± 0.250 | 0.500 ± 0.250 | +15.0 ± 7.1 |" in told
    assert "accuracy 0.500: mean ± deviation of 2 seeds" in told


def test_starts_are_told_by_task() -> None:
    own = {"seeds": 2, "mean": 0.75, "sd": 0.01}
    table = [own | {"task": "mrpc", "start": start} for start in ("layers", "general")]
    lines = [{"task": "mrpc", "teacher": score, "metric": "f1", "rows": 9} for score in (0.7, 0.9)]
    found = {"table": table[:1], "lines": lines, "steps": [3, 2], "tokens": 1000}

    one = "| MRPC (f1) | 0.800 | 0.750 ± 0.010 |"
    assert f"{one} 2 |" in sections.general_teachers(found)
    assert f"{one} 0.750 ± 0.010 | 2 |" in sections.general_teachers(found | {"table": table})


def test_readme_fits_two_screens_and_counts_departures() -> None:
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    departures = re.findall(r"^\*\*(\d+)\. ", METHOD, re.MULTILINE)

    assert len(readme.splitlines()) <= 75
    assert f"[{len(departures)} departures]" in readme


def test_what_pages_link_to_is_there() -> None:
    """Files and folders; the site's own build looks at anchors."""
    pages = [*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md"), ROOT / "data" / "README.md"]
    for page in pages:
        for place in re.findall(r"\]\(([^()\s:#]+)(?:#[^()\s]*)?\)", page.read_text("utf-8")):
            assert (page.parent / place).exists(), f"{page.name} links to {place}"


def test_the_first_page_names_every_page_of_the_site() -> None:
    """Those that the site makes itself have no file."""
    nav = (ROOT / "mkdocs.yml").read_text(encoding="utf-8").partition("\nnav:\n")[2]
    pages = {
        name for name in re.findall(r": (\S+\.md)$", nav, re.M) if (ROOT / "docs" / name).exists()
    }
    index = (ROOT / "docs" / "index.md").read_text(encoding="utf-8")

    assert len(pages) > 25
    assert pages - {"index.md"} == {
        n for n in re.findall(r"\]\(([^)#]+)\)", index) if n[:3] != "../"
    }


def test_docs_have_few_entries_a_folder() -> None:
    folders = [ROOT / "docs", *(each for each in (ROOT / "docs").iterdir() if each.is_dir())]

    for folder in folders:
        assert len([each for each in folder.iterdir() if each.name != "__pycache__"]) <= 20, folder
