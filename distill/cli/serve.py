"""The commands that come before and after training: is it worth it, how good is it, use it."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from augment.contract.terminal import AsJson, examples, number
from distill.cli.options import Init, Quiet, Recipe, Threads, Version, use

app = typer.Typer()


class Form(StrEnum):
    """What a model can be written as."""

    transformers = "transformers"
    onnx = "onnx"
    onnx_int8 = "onnx-int8"
    onnx_small = "onnx-small"


@app.command(
    epilog=examples(
        "distill evaluate models/sst2-teacher runs/sst2/student data/versions/sst2",
        "distill evaluate runs/sst2 data/versions/sst2 --split test --json",
    )
)
def evaluate(
    models: Annotated[
        list[str], typer.Argument(help="Folders, run directories or hub names of classifiers.")
    ],
    version: Version,
    split: Annotated[
        str | None,
        typer.Option(
            help="A labeled split; if left out, all validation splits and test splits with labels."
        ),
    ] = None,
    threads: Threads = None,
    as_json: AsJson = False,
) -> None:
    """Score, weigh and time models on a version."""
    use(threads)
    from distill.cli.output import emit, print_result
    from distill.evaluation.compare import evaluate_models

    emit(evaluate_models(models, version, split=split), as_json, print_result)


@app.command(
    epilog=examples(
        "distill export runs/sst2 data/versions/sst2 --to onnx --to onnx-int8 --out export",
        "distill export runs/sst2 data/versions/sst2 --trim --out export-small",
    )
)
def export(
    model: Annotated[
        str, typer.Argument(help="Folder, run directory or hub name of a classifier.")
    ],
    version: Version,
    out: Annotated[Path, typer.Option(help="The new folder.")],
    to: Annotated[
        list[Form] | None,
        typer.Option(
            help="transformers, onnx, onnx-int8 or onnx-small; may be repeated. All if left out."
        ),
    ] = None,
    trim: Annotated[
        bool, typer.Option("--trim", help="Leave unseen tokens out first, as distill trim does.")
    ] = False,
    trim_size: Annotated[
        int | None, number("How many tokens stay then: the most frequent.", least=1, most=10**7)
    ] = None,
    threads: Threads = None,
    as_json: AsJson = False,
    quiet: Quiet = False,
) -> None:
    """Write a model as transformers folder and in three forms of ONNX, and measure each.

    Every form is scored and timed on the version's validation rows, and its logits are compared
    with those of the model. The extra "onnx" is needed for ONNX.
    """
    use(threads)
    from augment.contract.terminal import labeled
    from distill.cli.output import emit, print_export
    from distill.serving.export import FORMS, export_model

    forms = [form.value for form in to] if to else list(FORMS)
    result = export_model(
        model, version, out=out, forms=forms, trim=trim, trim_size=trim_size, quiet=quiet
    )
    emit(result, as_json, print_export, [labeled("written", str(out))], kept=out)


@app.command(
    epilog=examples(
        "distill submission glue.zip",
        "distill submission submission/ --json",
    )
)
def submission(
    place: Annotated[Path, typer.Argument(help="A zip or a folder.")],
    as_json: AsJson = False,
) -> None:
    """Check a GLUE submission: names, headers, rows, order and answers of every file."""
    from distill.cli.output import emit, print_submission
    from distill.serving.glue_submission import check_submission

    result = check_submission(place)
    emit(result, as_json, print_submission)
    if any(file.faults for file in result.files):
        raise typer.Exit(3)


@app.command(
    epilog=examples(
        "distill doctor models/sst2-teacher data/versions/sst2 --student tinybert-4l-312d",
        "distill doctor labels data/versions/tickets --encoder "
        "google-bert/bert-base-uncased --student 4x312-1200-12",
    )
)
def doctor(
    teacher: Annotated[
        str,
        typer.Argument(help="Folder or hub name of a fine-tuned classifier; labels: soft labels."),
    ],
    version: Version,
    student: Annotated[
        str, typer.Option(help="A name, a shape or a checkpoint, as in distill run.")
    ] = "tinybert-4l-312d",
    encoder: Annotated[
        str | None, typer.Option(help="With labels: an untuned encoder, as in distill run.")
    ] = None,
    recipe: Recipe = "quick",
    init: Init = "auto",
    plain: Annotated[
        bool, typer.Option(help="Count the labels-only student in, as distill run does.")
    ] = True,
    out: Annotated[Path, typer.Option(help="Where the run directory would be.")] = Path(),
    threads: Threads = None,
    as_json: AsJson = False,
    quiet: Quiet = False,
) -> None:
    """Find out before a run what it would meet: labels, lengths, score, time, memory, disk.

    Takes about a minute: a few real steps of every stage are trained and thrown away. The exit
    code is that of the first error.
    """
    use(threads)
    from distill.cli.output import emit, print_diagnosis
    from distill.diagnosis.diagnose import diagnose

    result = diagnose(
        teacher,
        version,
        student=student,
        encoder=encoder,
        recipe=recipe,
        init=init,
        plain=plain,
        out=out,
        quiet=quiet,
    )
    emit(result, as_json, print_diagnosis)
    raise typer.Exit(result.exit_code)
