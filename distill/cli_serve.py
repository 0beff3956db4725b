"""The commands that come before and after training: is it worth it, how good is it, use it."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from distill.cli_common import (
    AsJson,
    Quiet,
    Threads,
    Version,
    guard,
    print_json,
    show,
    stdout,
    use,
)

app = typer.Typer()


class Form(StrEnum):
    """What a model can be written as."""

    transformers = "transformers"
    onnx = "onnx"
    onnx_int8 = "onnx-int8"


Model = Annotated[str, typer.Argument(help="Folder, run directory or hub name of a classifier.")]


@app.command()
def evaluate(
    models: Annotated[
        list[str], typer.Argument(help="Folders, run directories or hub names of classifiers.")
    ],
    version: Version,
    split: Annotated[
        str | None, typer.Option(help="A labelled split; all validation splits if left out.")
    ] = None,
    threads: Threads = None,
    as_json: AsJson = False,
) -> None:
    """Score, weigh and time models on a version.

    Example: distill evaluate models/sst2-teacher runs/sst2/student data/versions/sst2
    """
    with guard():
        use(threads)
        from distill.standalone import evaluate_models

        show(evaluate_models(models, version, split=split), as_json)


@app.command()
def export(
    model: Model,
    version: Version,
    out: Annotated[Path, typer.Option(help="The new folder.")],
    to: Annotated[
        list[Form] | None, typer.Option(help="A form; may be repeated. All if left out.")
    ] = None,
    threads: Threads = None,
    as_json: AsJson = False,
    quiet: Quiet = False,
) -> None:
    """Write a model as transformers folder, ONNX and int8 ONNX, and measure each.

    Every form is scored and timed on the version's validation rows, and its logits are compared
    with those of the model. The extra "onnx" is needed for ONNX.

    Example: distill export runs/sst2 data/versions/sst2 --to onnx --to onnx-int8 --out export
    """
    with guard():
        use(threads)
        from distill.export import FORMS, export_model
        from distill.report import print_export

        forms = [form.value for form in to] if to else list(FORMS)
        result = export_model(model, version, out=out, forms=forms, quiet=quiet)
        if as_json:
            print_json(result)
        else:
            print_export(result, stdout())
            stdout().print(f"  {'written':<11} {out}", markup=False)
