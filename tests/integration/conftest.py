"""The tiny models of the unit tests, and a small task to augment."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from tests.unit.augment.conftest import MANY_PIECES, WORDS, classifier_dir, mlm_dir, vectors_file

__all__ = ["classifier_dir", "mlm_dir", "pair_source", "vectors_file"]


def sentence(generator: random.Random) -> str:
    words = generator.choices([*WORDS, *MANY_PIECES], k=generator.randint(1, 12))
    if generator.random() < 0.3:
        words[0] = words[0].title()
    return " ".join(words) + generator.choice(["", ".", " !", "…"])


@pytest.fixture(scope="session")
def pair_source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """RTE-like TSV files of made-up words: 1,300 training pairs, three chunks."""
    folder = tmp_path_factory.mktemp("rte")
    generator = random.Random(5)
    for name, rows in (("train", 1300), ("dev", 20), ("test", 20)):
        labelled = name != "test"
        lines = ["index\tsentence1\tsentence2" + ("\tlabel" if labelled else "")]
        for i in range(rows):
            fields = [str(i), sentence(generator), sentence(generator)]
            fields += [generator.choice(["entailment", "not_entailment"])] if labelled else []
            lines.append("\t".join(fields))
        (folder / f"{name}.tsv").write_text("\n".join(lines) + "\n", encoding="utf-8")
    return folder
