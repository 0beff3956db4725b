"""The command that brings a version to the hub."""

from __future__ import annotations

import typer

from augment.cli.inspect import Reference
from augment.contract.terminal import AsJson, DryRun, Public, Repo, examples

app = typer.Typer()


@app.command(
    epilog=examples(
        "augment push data/versions/sst2 owner/sst2-augmented --dry-run",
        "augment push data/versions/sst2@v0003 owner/sst2-augmented --public",
    )
)
def push(
    version: Reference,
    repo: Repo,
    public: Public = False,
    dry_run: DryRun = False,
    as_json: AsJson = False,
) -> None:
    """Push a version to the hub as a data set; private unless --public.

    Every file is verified first, and all stand there by one commit; the token is that of
    `hf auth login` or HF_TOKEN.
    """
    from augment.contract.terminal import print_json, print_lines
    from augment.versions.push import push_version

    done = push_version(version, repo, public=public, dry_run=dry_run)
    if as_json:
        print_json(done.to_json())
    else:
        print_lines(*(f"  {line}" for line in done.lines()))
