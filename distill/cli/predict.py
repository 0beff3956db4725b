"""The command that answers: raw texts, the rows of a file, a split of a version."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from augment.contract.foreign import counted, shown
from augment.contract.terminal import (
    AsJson,
    after_commit,
    examples,
    labeled,
    number,
    open_console,
    print_json,
)
from distill.cli.options import Quiet, Threads, use
from distill.errors import UsageError

if TYPE_CHECKING:
    from rich.console import Console

    from distill.serving.answers import Answer, AnsweredFile, Answers

app = typer.Typer()


class StdinKind(StrEnum):
    """What stdin may hold."""

    txt = "txt"
    csv = "csv"
    tsv = "tsv"
    jsonl = "jsonl"
    json = "json"


_MOST = 8
"""Labels whose probabilities are shown, the most probable first."""
_LONGEST = 300
"""Characters of a text that are shown."""
_OF_VERSION, _OF_TEXT, _OF_INPUT = "a VERSION", "--text", "--input"
_GOES_WITH = {
    "--out": (_OF_VERSION, _OF_INPUT),
    "--split": (_OF_VERSION,),
    "--diagnostic": (_OF_VERSION,),
    "--text-b": (_OF_TEXT,),
    "--text-column": (_OF_INPUT,),
    "--skip-malformed": (_OF_INPUT,),
    "--stdin-kind": (_OF_INPUT,),
    "--abstain-below": (_OF_TEXT, _OF_INPUT),
    "--form": (_OF_TEXT, _OF_INPUT),
}


@app.command(
    epilog=examples(
        'distill predict export --text "an unfussily clever train ride"',
        "distill predict export --input reviews.csv --out answers.csv",
        "distill predict runs/sst2 data/versions/sst2 --out glue.zip",
    )
)
def predict(
    model: Annotated[
        str,
        typer.Argument(help="A folder, run, hub name, export or form in it."),
    ],
    version: Annotated[
        str | None,
        typer.Argument(help="A version, whose rows are answered in place of texts."),
    ] = None,
    text: Annotated[list[str] | None, typer.Option(help="A text; may be repeated.")] = None,
    text_b: Annotated[
        list[str] | None,
        typer.Option(help="The second text of each --text, for pairs."),
    ] = None,
    input_: Annotated[
        str | None,
        typer.Option(
            "--input",
            help="A .txt, .csv, .jsonl, .parquet, … of rows; - for stdin.",
        ),
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option(help="A table, .csv, …; for GLUE a .zip or a folder."),
    ] = None,
    text_column: Annotated[
        list[str] | None,
        typer.Option(help="Column of the text, if not found; twice for a pair."),
    ] = None,
    abstain_below: Annotated[
        float | None,
        number("No label where its probability is lower.", least=0, most=1),
    ] = None,
    skip_malformed: Annotated[
        bool,
        typer.Option("--skip-malformed", help="Leave malformed rows out, counted."),
    ] = False,
    stdin_kind: Annotated[StdinKind | None, typer.Option(help="Lines, if left out.")] = None,
    form: Annotated[
        str | None,
        typer.Option(
            help="onnx-small, onnx-int8, onnx or transformers; else the first that keeps the score "
            "within half a point."
        ),
    ] = None,
    split: Annotated[
        str | None,
        typer.Option(help="Of a version; all its test splits if left out."),
    ] = None,
    diagnostic: Annotated[
        Path | None, typer.Option(help="GLUE's AX.tsv, for a model of MNLI.")
    ] = None,
    threads: Threads = None,
    as_json: AsJson = False,
    quiet: Quiet = False,
) -> None:
    """Answer texts: label, confidence and the probability of each label.

    A table has the input's columns, then prediction, confidence and p_LABEL; where a name is taken,
    ours becomes prediction_2. GLUE's submission grows task by task.
    """
    given = {
        "--out": out,
        "--split": split,
        "--diagnostic": diagnostic,
        "--text-b": text_b,
        "--text-column": text_column,
        "--skip-malformed": skip_malformed or None,
        "--stdin-kind": stdin_kind,
        "--abstain-below": abstain_below,
        "--form": form,
    }
    asked = {_OF_VERSION: version, _OF_TEXT: text, _OF_INPUT: input_}
    _check_options([name for name, own in asked.items() if own is not None], given)
    if version is not None and out is not None:
        use(threads)
        from distill.cli.output import emit, print_predictions
        from distill.serving.predict import write_predictions

        written = write_predictions(
            model, version, out=out, split=split or "test", diagnostic=diagnostic, quiet=quiet
        )
        emit(written, as_json, print_predictions, kept=out)
        return
    from distill.serving.answers import answer_file, answer_texts, open_model, paired

    texts = paired(text or (), text_b or ())
    classifier = open_model(model, form, threads)
    if input_ is None or out is None:
        _print_answers(answer_texts(classifier, texts, abstain_below=abstain_below), as_json)
        return
    result = answer_file(
        classifier,
        input_,
        out=out,
        text_columns=text_column or (),
        abstain_below=abstain_below,
        skip_malformed=skip_malformed,
        stdin_kind=(stdin_kind or StdinKind.txt).value,
        quiet=quiet,
    )
    _print_file(result, as_json)


def _check_options(asked: Sequence[str], given: Mapping[str, object]) -> None:
    """Refuse options that nobody would look at, and a table without a place."""
    if len(asked) != 1:
        found = f"{' and '.join(asked)} do not go together." if asked else "nothing to answer."
        raise UsageError(found, f"Give one of {_OF_VERSION}, {_OF_TEXT}, {_OF_INPUT} FILE.")
    (mode,) = asked
    for option, modes in _GOES_WITH.items():
        if given[option] is not None and mode not in modes:
            raise UsageError(
                f"{option} does not go with {mode}.", f"It goes with {' or '.join(modes)}."
            )
    if mode in _GOES_WITH["--out"] and given["--out"] is None:
        raise UsageError("--out is missing.", "Name the table that is to be written: --out a.csv")


def _print_answers(result: Answers, as_json: bool) -> None:
    """Print answers on stdout, as JSON or for a person."""
    if as_json:
        print_json(result.to_json())
        return
    console = open_console()
    console.print(labeled("model", result.model))
    for answer in result.answers:
        _print_answer(answer, console)


def _print_answer(answer: Answer, console: Console) -> None:
    texts = " | ".join(shown(text, limit=_LONGEST) for text in answer.text)
    console.print(labeled("text", texts))
    if answer.confidence is None:
        console.print(labeled("score", f"{answer.prediction:.3f}"))
        return
    label = "none: it is not sure enough" if answer.prediction is None else str(answer.prediction)
    console.print(labeled("label", f"{label} · confidence {answer.confidence:.3f}"))
    ranked = sorted(answer.probabilities.items(), key=lambda item: -item[1])
    more = f" · … ({len(ranked)} in all)" if len(ranked) > _MOST else ""
    shares = " · ".join(f"{name} {share:.3f}" for name, share in ranked[:_MOST])
    console.print(labeled("", f"{shares}{more}"))


def _print_file(result: AnsweredFile, as_json: bool) -> None:
    """Print what was written, as JSON or for a person."""
    with after_commit(Path(result.place)):
        if as_json:
            print_json(result.to_json())
            return
        facts = [counted(result.rows, "row"), f"{result.rows_per_second:,.0f} a second"]
        if result.abstained:
            facts.append(f"{result.abstained:,} without a label: not sure enough")
        if result.left_out:
            facts.append(f"{counted(result.left_out, 'malformed row')} left out")
        console = open_console()
        console.print(labeled("written", f"{result.place} · {' · '.join(facts)}"))
        if result.renamed:
            names = ", ".join(result.renamed)
            console.print(labeled("notice", f"the input has such columns; ours are {names}"))
