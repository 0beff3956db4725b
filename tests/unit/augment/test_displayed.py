"""Results as Python and notebooks show them: short, escaped, as data frames."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

import pytest
from IPython.core.interactiveshell import InteractiveShell

from augment import Version, diff, open_version, stats, write_version
from augment.contract import Fault, Label, TaskSpec
from augment.contract.foreign import Displayed, marked
from augment.contract.task import rows_html

NASTY = "</td><script>alert(1)</script>\u202e\x1b[31m & <b>"
TASK = TaskSpec(
    name="shouts",
    text_columns=("text",),
    label=Label(names=("</script>", "good")),
    metrics=("accuracy",),
    selection_metric="accuracy",
)


@pytest.fixture(scope="module")
def version(tmp_path_factory: pytest.TempPathFactory) -> Version:
    import pandas as pd

    edit = {"column": "text", "start": 0, "end": 4, "before": "this", "after": "<i>", "source": "x"}
    train = pd.DataFrame(
        {
            "text": ["this tea", "<i> tea", NASTY, "fine"],
            "label": [1, 1, 0, 0],
            "idx": [0, 0, 1, 2],
            "variant": [0, 1, 0, 0],
            "generator": [None, "llm", None, None],
            "edits": [None, [edit], None, None],
        }
    )
    validation = pd.DataFrame({"text": ["bad", "good"], "label": [0, 1]})
    splits = {"train": train, "validation": validation}
    return write_version(TASK, splits, out=tmp_path_factory.mktemp("versions"))


def no_markup(html: str) -> bool:
    """Whether nothing of the data acts: no tag of theirs, no control."""
    tags = {*re.findall(r"<([a-z/]+)", html)}
    ours = {"p", "table", "thead", "tbody", "tr", "th", "td", "b", "del", "ins", "ol", "li", "span"}
    return tags <= {*ours, *(f"/{tag}" for tag in ours)} and html.replace("\n", "").isprintable()


def test_a_version_shows_itself(version: Version) -> None:
    html = version._repr_html_()

    assert len(repr(version)) < 200
    assert "train 4 · validation 2" in repr(version)
    assert no_markup(html)
    assert "&lt;script&gt;" in html
    assert re.search(r"<del[^>]*>this</del> <ins[^>]*>&lt;i&gt;</ins> tea", html)
    assert html.count("&lt;/script&gt;") == 2 + 1  # two labels, and the text


def test_frames_have_the_names_of_classes(version: Version) -> None:
    frame = version.to_pandas("train")

    assert frame.label.tolist() == [1, 1, 0, 0]
    assert frame.label_name.tolist() == ["good", "good", "</script>", "</script>"]
    assert [*frame][:3] == ["text", "label", "label_name"]
    again = {split: version.to_pandas(split) for split in version.splits}
    assert write_version(TASK, again, out=version.path.parents[1]).path == version.path


def test_describe(version: Version) -> None:
    found = version.describe()

    assert found.loc["train"].tolist() == [4, 1, 2, 2]
    assert [*found.columns] == ["rows", "generated", "</script>", "good"]
    assert version.to_datasets()["validation"].features["label"].names == ["</script>", "good"]


def test_results_are_short_and_are_frames(version: Version) -> None:
    for found in (stats(version), diff(version, version.path), stats(str(version.path))):
        assert len(repr(found)) <= 160
        assert "\n" not in repr(found)
        assert no_markup(found._repr_html_())
        assert len(found.to_pandas()) == 1


@dataclass(frozen=True, repr=False)
class Inner:
    name: str
    more: dict[str, float]


@dataclass(frozen=True, repr=False)
class Outer(Displayed):
    place: Path
    rows: tuple[Inner, ...]
    empty: tuple[str, ...] = ()


def test_rows_of_a_result_become_rows() -> None:
    found = Outer(Path("here"), tuple(Inner(f"<b>{i}", {"a": i}) for i in range(30)))

    assert repr(found) == str(found) == "Outer(place='here', rows: 30)"
    assert [*found.to_pandas().columns] == ["name", "more.a"]
    assert "and 10 more rows" in found._repr_html_()
    assert no_markup(found._repr_html_())


def test_numbers_in_a_table_are_short() -> None:
    values = {"a": 1_083_012, "b": 0.123456, "c": 123_456.7, "d": float("nan"), "e": True}
    html = Outer(Path("here"), (Inner("x", values),))._repr_html_()

    assert re.findall("<td>(.*?)</td>", html) == ["x", "1,083,012", "0.1235", "123,457", "", "True"]


@pytest.mark.parametrize("text", ["", "x", NASTY])
def test_marks_never_carry_markup(text: str) -> None:
    edit = {"start": 0, "end": len(text), "before": text, "after": NASTY, "column": "t"}
    row = {"idx": 0, "variant": 1, "t": NASTY, "y": -1, "edits": [edit]}
    classes, number = Label(column="y", names=("<a>", "b")), Label(column="y", kind="regression")

    assert no_markup(marked(text, [edit]))
    assert no_markup(rows_html([row, {**row, "y": None, "edits": None}], ["t"], classes))
    assert no_markup(rows_html([{**row, "y": 2.5}], ["t"], number))


def test_a_notebook_shows_the_sentence_alone(capsys: pytest.CaptureFixture[str]) -> None:
    shell = InteractiveShell()
    shell.run_cell("from augment import open_version\nopen_version('nowhere/at-all')")
    out = capsys.readouterr().out

    assert "error: nowhere/at-all holds no version." in out
    assert "Make one: augment run" in out
    assert "Traceback" not in out
    with pytest.raises(Fault) as caught:
        open_version("nowhere/at-all")
    assert caught.value.describe().endswith("(exit 3)")
