"""Trimming of a vocabulary, pure: which tokens stay, and what ``tokenizer.json`` becomes.

What holds for every text, whatever tokens are left out beyond those that ``Vocabulary`` requires:

* Where all pieces of a text stay, they are its pieces afterwards. WordPiece takes the longest
  token at each point, and it stays; BPE performs the same merges in the same order, as every part
  of a token stays with it; a Unigram model's best path stays, and no better one appears, as the
  least score, which unknown characters are charged by, stays. (WordPiece alone may come to read a
  word that was unknown to it.)
* What could be read can be read still, as each character stays by itself. Tokens with a character
  that no token is by itself stay whole.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from augment.contract.foreign import counted
from distill.errors import ModelInvalid, UsageError

KINDS = ("WordPiece", "BPE", "Unigram")
_UNUSED = re.compile(r"\[unused\d+\]")
_BYTE = re.compile(r"<0x[0-9A-F]{2}>")
Content = dict[str, Any]


@dataclass(frozen=True)
class Vocabulary:
    """The tokens of a fast tokenizer.

    Attributes:
        content: ``tokenizer.json``, as JSON values.
        ids: Token to number, added ones included.
        needed: Numbers that stay whatever else does: added and special tokens.
    """

    content: Content
    ids: Mapping[str, int]
    needed: frozenset[int]

    @classmethod
    def read(cls, name: str, text: str, ids: Mapping[str, int], needed: Collection[int]) -> Self:
        """Read a ``tokenizer.json``.

        Args:
            name: What the user called the model.
            text: The file.
            ids: Token to number.
            needed: Numbers that the model or its config refers to.

        Raises:
            ModelInvalid: It is of another kind than ``KINDS``, or splits a text at random.
        """
        content = json.loads(text)
        model = content["model"]
        if model["type"] not in KINDS:
            raise ModelInvalid(
                f"the tokenizer of {name} is of the kind {model['type']}, which cannot be trimmed.",
                f"{', '.join(KINDS[:-1])} and {KINDS[-1]} can. Use the model as it is.",
            )
        if model.get("dropout"):
            raise ModelInvalid(
                f"the tokenizer of {name} splits texts at random (dropout {model['dropout']}).",
                "Set dropout to null in its tokenizer.json.",
            )
        added = {token["id"] for token in content["added_tokens"]}
        framing = list(_numbers(content["post_processor"]))
        unknown = content["model"].get("unk_token")
        needed = {*added, *framing, *needed, *([ids[unknown]] if unknown in ids else [])}
        return cls(content, ids, frozenset(needed & set(ids.values())))

    @property
    def kind(self) -> str:
        """One of ``KINDS``."""
        return str(self.content["model"]["type"])

    @property
    def size(self) -> int:
        """Numbers in use, from 0 to the largest."""
        return max(self.ids.values()) + 1

    @cached_property
    def parts(self) -> Mapping[int, Collection[int]]:
        """What a token is merged from, of BPE: by every merge that makes it."""
        parts: dict[int, set[int]] = {}
        for left, right, made in self._merges():
            parts.setdefault(made, set()).update((left, right))
        return parts

    @cached_property
    def required(self) -> frozenset[int]:
        """Numbers of tokens that stay: special ones, single characters, and see the module."""
        return self._closed(self.needed | set(self._characters()))

    def _characters(self) -> Iterator[int]:
        model = self.content["model"]
        match self.kind:
            case "BPE":
                yield from set(model["vocab"].values()) - self.parts.keys()
            case "WordPiece":
                yield from _spelled(model["vocab"], model["continuing_subword_prefix"])
            case _:
                pieces: list[tuple[str, float]] = model["vocab"]
                ids = {piece: at for at, (piece, _) in enumerate(pieces)}
                yield from _spelled(ids, "")
                yield from (at for at, (piece, _) in enumerate(pieces) if _BYTE.fullmatch(piece))
                yield min(range(len(pieces)), key=lambda at: pieces[at][1])
                yield from [] if model["unk_id"] is None else [model["unk_id"]]

    def _merges(self) -> Iterator[tuple[int, int, int]]:
        if self.kind == "BPE":
            model = self.content["model"]
            ids, prefix = model["vocab"], model.get("continuing_subword_prefix") or ""
            for pair in model["merges"]:
                left, right = pair.split(" ") if isinstance(pair, str) else pair
                yield ids[left], ids[right], ids[left + right[len(prefix) :]]

    def _closed(self, chosen: Collection[int]) -> frozenset[int]:
        """With all that they are merged from."""
        closed, due = set(chosen), list(chosen)
        while due:
            more = set(self.parts.get(due.pop(), ())) - closed
            closed |= more
            due += more
        return frozenset(closed)

    def seen(self, counts: NDArray[np.int64], least: int) -> NDArray[np.int64]:
        """Numbers of the tokens that stay: required ones, and those seen so often, ascending.

        Args:
            counts: How often each token was seen, shape (size,).
            least: As often as that.
        """
        often = set(np.flatnonzero(counts >= least).tolist()) & set(self.ids.values())
        return np.array(sorted(self._closed(self.required | often)))

    def most_frequent(self, counts: NDArray[np.int64], size: int) -> NDArray[np.int64]:
        """Numbers of the tokens that stay: required ones, and the most frequent, ascending.

        Where more fit than were seen, those with low numbers follow: tokenizers number their tokens
        from the frequent to the rare.

        Args:
            counts: How often each token was seen, shape (size,).
            size: As many as fit.

        Raises:
            UsageError: The required ones alone are more.
        """
        kept = set(self.required)
        if len(kept) > size:
            raise UsageError(
                f"--size {size:,} is too small: {counted(len(kept), 'token', 'are')} "
                f"special or single "
                "characters, or needed by those.",
                f"Choose --size {len(kept):,} or more.",
            )
        used = {at for token, at in self.ids.items() if not _UNUSED.fullmatch(token)}
        for token in np.argsort(-counts, kind="stable").tolist():
            if len(kept) == size:
                break
            more = self._closed([token]) - kept if token in used else set()
            if len(kept) + len(more) > size:
                break
            kept |= more
        return np.array(sorted(kept))

    def trimmed(self, kept: Sequence[int]) -> Content:
        """``tokenizer.json`` with these tokens alone, numbered in their order from 0."""
        new = {old: at for at, old in enumerate(kept)}
        content = self.content
        return {
            **content,
            "added_tokens": [{**own, "id": new[own["id"]]} for own in content["added_tokens"]],
            "post_processor": _renumbered(content["post_processor"], new.__getitem__),
            "model": {**content["model"], **self._trimmed_model(new)},
        }

    def _trimmed_model(self, new: Mapping[int, int]) -> Content:
        model = self.content["model"]
        if self.kind == "Unigram":
            unknown = model["unk_id"]
            pieces = [piece for at, piece in enumerate(model["vocab"]) if at in new]
            return {"vocab": pieces, "unk_id": None if unknown is None else new[unknown]}
        words = {token: new[at] for token, at in model["vocab"].items() if at in new}
        if self.kind == "WordPiece":
            return {"vocab": words}
        stay = [made in new for _, _, made in self._merges()]
        merges = [pair for pair, stays in zip(model["merges"], stay, strict=True) if stays]
        return {"vocab": words, "merges": merges}


def _spelled(ids: Mapping[str, int], prefix: str) -> Iterator[int]:
    """Tokens that are a character, or hold one that no token is where it stands."""
    for token, number in ids.items():
        inside = token.startswith(prefix) and len(token) > len(prefix)
        letters = token[len(prefix) :] if inside else token
        first = prefix if inside else ""
        forms = [first + letters[:1], *(prefix + letter for letter in letters[1:])]
        if len(forms) == 1 or not all(form in ids for form in forms):
            yield number


def _numbers(node: Any) -> Iterator[int]:
    """The numbers of tokens in a post-processor."""
    seen: list[int] = []

    def note(number: int) -> int:
        seen.append(number)
        return number

    _renumbered(node, note)
    yield from seen


def _renumbered(node: Any, change: Callable[[int], int]) -> Any:
    """A post-processor whose numbers of tokens are changed."""
    match node:
        case {"type": "Sequence"}:
            return {**node, "processors": [_renumbered(own, change) for own in node["processors"]]}
        case {"type": "TemplateProcessing"}:
            tokens = {
                name: {**own, "ids": [change(at) for at in own["ids"]]}
                for name, own in node["special_tokens"].items()
            }
            return {**node, "special_tokens": tokens}
        case {"type": "BertProcessing" | "RobertaProcessing"}:
            ends = {key: [node[key][0], change(node[key][1])] for key in ("sep", "cls")}
            return {**node, **ends}
    return node
