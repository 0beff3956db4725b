"""Answers to texts as a person reads them; nothing of torch is loaded to print them."""

from __future__ import annotations

from pathlib import Path

from rich.console import Console

from augment.contract.foreign import shown
from augment.contract.progress import labeled, open_console
from augment.contract.terminal import after_commit, print_json
from distill.serving.answers import Answer, AnsweredFile, Answers

_MOST = 8
"""Labels whose probabilities are shown, the most probable first."""
_LONGEST = 300
"""Characters of a text that are shown."""


def emit_answers(result: Answers, as_json: bool) -> None:
    """Print answers on stdout, as JSON or for a person."""
    if as_json:
        print_json(result.to_json())
        return
    console = open_console()
    console.print(labeled("model", result.model))
    for answer in result.answers:
        _print(answer, console)


def _print(answer: Answer, console: Console) -> None:
    texts = " | ".join(shown(text, limit=_LONGEST) for text in answer.text)
    console.print(labeled("text", texts))
    if answer.confidence is None:
        console.print(labeled("score", f"{answer.prediction}"))
        return
    label = "none: it is not sure enough" if answer.prediction is None else str(answer.prediction)
    console.print(labeled("label", f"{label} · confidence {answer.confidence:.3f}"))
    ranked = sorted(answer.probabilities.items(), key=lambda item: -item[1])
    more = f" · … ({len(ranked)} in all)" if len(ranked) > _MOST else ""
    shares = " · ".join(f"{name} {share:.3f}" for name, share in ranked[:_MOST])
    console.print(labeled("", f"{shares}{more}"))


def emit_file(result: AnsweredFile, as_json: bool) -> None:
    """Print what was written, as JSON or for a person."""
    with after_commit(Path(result.place)):
        if as_json:
            print_json(result.to_json())
            return
        facts = [f"{result.rows:,} rows", f"{result.rows_per_second:,.0f} a second"]
        if result.abstained:
            facts.append(f"{result.abstained:,} without a label: not sure enough")
        if result.left_out:
            facts.append(f"{result.left_out:,} malformed rows left out")
        console = open_console()
        console.print(labeled("written", f"{result.place} · {' · '.join(facts)}"))
        if result.renamed:
            names = ", ".join(result.renamed)
            console.print(labeled("notice", f"the input has such columns; ours are {names}"))
