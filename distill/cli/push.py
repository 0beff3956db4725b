"""The command that brings a model to the hub."""

from __future__ import annotations

from typing import Annotated

import typer

from augment.contract.terminal import AsJson, DryRun, Public, Repo, examples

app = typer.Typer()


@app.command(
    epilog=examples(
        "distill push runs/sst2 owner/sst2-small --dry-run",
        "distill push export owner/sst2-onnx --public",
    )
)
def push(
    model: Annotated[
        str, typer.Argument(help="A run directory, a model folder, or what export or trim made.")
    ],
    repo: Repo,
    public: Public = False,
    dry_run: DryRun = False,
    as_json: AsJson = False,
) -> None:
    """Push a model with its card to the hub; private unless --public.

    Weights, config, tokenizer and card are pushed, and nothing else of the folder. The model is
    checked first; the token is that of `hf auth login` or HF_TOKEN.
    """
    from augment.contract.terminal import print_json, print_lines
    from distill.serving.push import push_model

    done = push_model(model, repo, public=public, dry_run=dry_run)
    if as_json:
        print_json(done.to_json())
    else:
        print_lines(*(f"  {line}" for line in done.lines()))
