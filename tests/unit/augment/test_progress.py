"""How far a run is: known before the first forward, by what is to be read."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pytest

from augment.executor.base import Chunk
from augment.executor.models import Models
from augment.progress import Narrator, Progress
from augment.recipes.load import load_recipe
from augment.replacement.sampling import TextOfRow, sample_texts


class Heard:
    """What a finder says of its work."""

    def __init__(self) -> None:
        self.expected: list[int] = []
        self.read: list[tuple[int, int, bool]] = []

    def expects(self, tokens: int) -> None:
        self.expected.append(tokens)

    def reads(self, positions: int, tokens: int, *, found: bool = False) -> None:
        self.read.append((positions, tokens, found))


@pytest.mark.parametrize("preset", ["official", "paper"])
def test_what_is_to_be_read_is_known_first(
    preset: str, mlm_dir: Path, vectors_file: Path, tmp_path: Path
) -> None:
    recipe = load_recipe(preset, "sst2").model_copy(update={"variants": 4, "top_k": 5})
    finder = Models(str(mlm_dir), str(vectors_file)).load_finder(recipe, tmp_path / "store")
    lines = ["a good film", "the quick brown fox", "a good film", "fine music in the city"]
    words = finder.words_of(lines)
    texts = [
        TextOfRow(i, "sentence", text, of)
        for i, (text, of) in enumerate(zip(lines, words, strict=True))
    ]
    for again in (False, True):
        finder.watcher = heard = Heard()
        sample_texts(texts, finder, "sst2")
        assert heard.expected[0] == sum(tokens for _, tokens, _ in heard.read) > 0
        assert any(found for _, _, found in heard.read) == again


def test_the_share_grows_evenly_and_what_was_found_is_free() -> None:
    work = Progress(100.0, 20.0, {3: 60.0, 4: 20.0})
    assert work.share == 0.2
    work.expect(1000)
    work.expect(5)  # a later word of the same chunk
    work.read(250, found=False)
    assert work.share == pytest.approx(0.35)
    work.read(250, found=True)
    assert (work.share, work.free) == (pytest.approx(0.5), 15.0)
    work.read(9999, found=False)
    assert work.share == pytest.approx(0.8)
    work.finish(3)
    assert work.share == pytest.approx(0.8)
    work.finish(4)
    assert work.share == 1.0


def test_the_time_that_is_left_comes_in_the_first_seconds(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    now = 0.0
    monkeypatch.setattr("augment.contract.terminal.time.monotonic", lambda: now)
    tell = Narrator(quiet=False)
    tell.start(1000, 0, {0: 50.0, 1: 50.0})
    tell.expects(1000)
    tell.reads(0, 100, found=True)
    for _ in range(3):
        now += 1
        tell.reads(10, 20)
    tell.stop()
    tell.reads(1, 1)  # nobody listens any more

    assert capsys.readouterr().err.splitlines() == [
        "  candidates  7% · 0 of 1,000 rows · 10 masks/s · 1 min 33 s left"
    ]


def test_a_text_twice_as_long_is_four_times_the_work() -> None:
    chunk = [Chunk(0, pa.table({"a": [text], "b": ["x"]})) for text in ("a" * 500, "a" * 1000)]

    assert 3.9 < chunk[1].weight(["a"]) / chunk[0].weight(["a"]) < 4.0
    assert chunk[0].weight(["a", "b"]) > chunk[0].weight(["a"])
