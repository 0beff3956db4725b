"""How long the models of a report take from a raw text to its label: measured for it, in turns."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from augment.contract import Fault
from augment.contract.models import quiet_libraries
from distill.evaluation.answer_times import EndToEnd
from distill.evaluation.end_to_end import measure_end_to_end, spread_texts
from distill.inference.classifier import Backend
from distill.inference.texts import Text
from distill.reports.reading import ReadRun

MOST_MODELS = 12
"""Each takes up to four seconds."""


def time_students(runs: Sequence[ReadRun]) -> Mapping[str, EndToEnd]:
    """Run name to the time of its student on one thread, on texts that it was measured on.

    Of runs on pairs and on single texts each kind has texts of its own. A student that cannot be
    loaded any more has no time.
    """
    quiet_libraries()
    found: dict[str, EndToEnd] = {}
    for columns in (1, 2):
        texts, loaded = list[Text](), dict[str, Backend]()
        for own in runs[:MOST_MODELS]:
            if own.answers is None or len(own.answers.texts[0]) != columns:
                continue
            if (backend := _load(own)) is not None:
                loaded[own.name] = backend
                texts = texts or spread_texts(_texts(own))
        if loaded:
            timed = measure_end_to_end([*loaded.values()], texts, threads=1)
            found |= dict(zip(loaded, timed, strict=True))
    return found


def _load(own: ReadRun) -> Backend | None:
    from distill.evaluation.pytorch import open_model

    try:
        return open_model(str(own.run.path))
    except Fault:
        return None


def _texts(own: ReadRun) -> list[Text]:
    assert own.answers is not None
    return [row[0] if len(row) == 1 else (row[0], row[1]) for row in own.answers.texts]
