"""Rows from elsewhere, for benchmarks: texts with words inserted, sentences of general English."""

from __future__ import annotations

import random
import re
from collections.abc import Iterator, Sequence
from typing import Any

import pyarrow.parquet as pq
import torch
from transformers import AutoModelForMaskedLM, AutoTokenizer

from benchmarks.places import MLM, SHARED

CANDIDATES, SHARE, BATCH = 15, 0.2, 64
"""Inserted words are drawn from so many, into such a share of the gaps between words."""
WORDS_OF_A_SENTENCE, ELSEWHERE = range(4, 26), {"wikipedia", "reuters", "novels", "bbc"}


def inserted(texts: Sequence[str], variants: int, seed: int) -> Iterator[list[str]]:
    """Variants of each text: some gaps between its words get a word of the masked LM.

    The gaps of a variant are filled at once, from one forward pass; candidates are whole words.
    """
    tokenizer: Any = AutoTokenizer.from_pretrained(str(MLM))
    model = AutoModelForMaskedLM.from_pretrained(str(MLM)).eval()
    pieces = tokenizer.convert_ids_to_tokens(range(model.config.vocab_size))
    whole = torch.tensor([bool(piece) and piece.isalpha() for piece in pieces])
    for at, text in enumerate(texts):
        draw = random.Random(f"{seed} {at}")
        masked = [_masked(text.split(), tokenizer.mask_token, draw) for _ in range(variants)]
        read = tokenizer(masked, padding=True, truncation=True, max_length=128, return_tensors="pt")
        with torch.inference_mode():
            scores = model(**read).logits.masked_fill(~whole, -torch.inf)
        best = scores.topk(CANDIDATES).indices
        made, places = [], read["input_ids"] == tokenizer.mask_token_id
        for own, ranked, here in zip(masked, best, places, strict=True):
            drawn = iter([tokenizer.decode([draw.choice(ids)]) for ids in ranked[here].tolist()])
            before, *after = own.split(tokenizer.mask_token)
            made.append(before + "".join(next(drawn, "") + part for part in after))
        yield made


def _masked(words: Sequence[str], mask: str, draw: random.Random) -> str:
    """The words with masks in some of the gaps, at least in one."""
    count = max(1, round(SHARE * len(words)))
    gaps = set(draw.sample(range(len(words) + 1), min(count, len(words) + 1)))
    placed = [[mask] * (at in gaps) + [word] for at, word in enumerate([*words, ""])]
    return " ".join(word for part in placed for word in part if word)


def sentences_elsewhere(count: int, seed: int) -> list[str]:
    """Sentences of encyclopedia, news and novels, as short as GLUE's."""
    paragraphs = pq.read_table(SHARED / "data" / "corpus" / "train.parquet").to_pylist()
    random.Random(seed).shuffle(paragraphs)
    found: list[str] = []
    for paragraph in paragraphs:
        if paragraph["source"] in ELSEWHERE:
            for sentence in re.split(r"(?<=[.!?])\s+", paragraph["text"]):
                if len(sentence.split()) in WORDS_OF_A_SENTENCE:
                    found.append(sentence)
        if len(found) >= count:
            break
    return found[:count]
