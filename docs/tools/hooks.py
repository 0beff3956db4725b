"""What MkDocs asks of this project: generated reference pages, pages from outside ``docs``, links.

``augment --help`` and ``distill --help`` become a page each; the public names another, by
mkdocstrings. A link that leaves the site (to a source file, to figures) is text there.
"""

from __future__ import annotations

import posixpath
import re
from collections.abc import Iterator
from html import escape
from importlib import import_module
from pathlib import Path
from typing import Any

from mkdocs.structure.files import File, Files

ROOT = Path(__file__).parents[2]
OUTSIDE = {
    "RESULTS.md": "results.md",
    "data/README.md": "reference/versions.md",
    "CHANGELOG.md": "changelog.md",
    "CONTRIBUTING.md": "contributing.md",
}
"""Pages that stand elsewhere in the checkout, and where the site has them."""
NEXT = "\n\n"
"""Between two paragraphs."""
_LINK = re.compile(r"(!?)\[([^\]\[]*)\]\(([^()\s:#]+)(#[^()\s]*)?\)")


def on_files(files: Files, config: Any) -> Files:
    """Add the pages that do not stand under ``docs``."""
    for name, target in OUTSIDE.items():
        text = (ROOT / name).read_text(encoding="utf-8")
        files.append(File.generated(config, target, content=text))
    for package in ("augment", "distill"):
        page = File.generated(config, f"reference/{package}.md", content=commands(package))
        files.append(page)
    files.append(File.generated(config, "reference/python.md", content=names()))
    return files


def on_page_markdown(markdown: str, page: Any, files: Files, **_: Any) -> str:
    """Let links lead to where the site has a page; of others leave the words."""
    origins = {target: name for name, target in OUTSIDE.items()}
    here = page.file.src_uri
    origin = origins.get(here, f"docs/{here}")

    def mended(link: re.Match[str]) -> str:
        image, words, place, anchor = link[1], link[2], link[3], link[4] or ""
        path = posixpath.normpath(posixpath.join(posixpath.dirname(origin), place))
        target = OUTSIDE.get(path, path.removeprefix("docs/"))
        if files.get_file_from_path(target) is None and (ROOT / path).exists():
            return words
        return f"{image}[{words}]({posixpath.relpath(target, posixpath.dirname(here))}{anchor})"

    return _LINK.sub(mended, markdown)


def commands(package: str) -> str:
    """Every command of a package with its options and examples, as ``--help`` groups them."""
    import typer.main

    group: Any = typer.main.get_command(import_module(f"{package}.cli").app)
    about = [
        f"- [`{name}`](#{package}-{name}): {escape((own.help or '').split(NEXT)[0], quote=False)}"
        for name, own in group.commands.items()
    ]
    parts = [f"# `{package}`", group.help or "", "\n".join(about)]
    for name, own in group.commands.items():
        parts += _command(f"{package} {name}", own)
    return NEXT.join(parts) + "\n"


def _command(path: str, command: Any) -> Iterator[str]:
    from augment.contract.process import examples_of, help_groups

    yield f"## `{path}`"
    yield escape(command.help or "", quote=False)
    params = [param for param in command.params if not getattr(param, "hidden", False)]
    for panel, rows in help_groups(params).items():
        if rows:
            yield f"**{panel}**"
            yield "\n".join(f"- `{name}`: {escape(text, quote=False)}" for name, text in rows)
    yield "\n".join(["```bash", *examples_of(command.epilog), "```"])


def names() -> str:
    """The public names of both packages, for mkdocstrings."""
    parts = ["# From Python"]
    for package in ("augment", "distill"):
        module = import_module(package)
        parts.append(f"## {package}")
        for name in sorted(name for name in module.__all__ if name != "__version__"):
            found = getattr(module, name)
            heading = f"    options:\n      heading: {name}\n      toc_label: {name}"
            parts.append(f"::: {found.__module__}.{found.__qualname__}\n{heading}")
    return "\n\n".join(parts) + "\n"
