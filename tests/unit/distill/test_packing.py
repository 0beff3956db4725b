from __future__ import annotations

from typing import Any

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from distill.data.packing import BlockSpec, CorpusCounts, DocumentTokens, pack

CLS, SEP = 1, 2
TOKENS = st.lists(st.integers(3, 40), max_size=70)
CORPUS = st.lists(TOKENS, max_size=12)
SPECS = st.integers(3, 20).flatmap(
    lambda length: st.builds(
        BlockSpec,
        max_length=st.just(length),
        min_length=st.integers(3, length),
        cls_id=st.just(CLS),
        sep_id=st.just(SEP),
    )
)


def numbered(corpus):
    return [DocumentTokens(number, ids) for number, ids in enumerate(corpus)]


def blocks_of(packed):
    ends = np.cumsum(packed.lengths)
    return [packed.ids[end - n : end].tolist() for end, n in zip(ends, packed.lengths, strict=True)]


@settings(deadline=None)
@given(CORPUS, SPECS)
def test_every_token_of_every_document_is_in_its_blocks_in_order_or_counted(
    corpus: Any, spec: Any
) -> None:
    packed = pack(numbered(corpus), spec)
    blocks = blocks_of(packed)
    kept = {number: [] for number in range(len(corpus))}
    for block, document in zip(blocks, packed.documents, strict=True):
        assert spec.min_length <= len(block) <= spec.max_length
        assert (block[0], block[-1]) == (CLS, SEP)
        kept[int(document)] += block[1:-1]
    lost = 0
    for number, ids in enumerate(corpus):
        assert kept[number] == ids[: len(kept[number])]
        left = len(ids) - len(kept[number])
        assert left + 2 < spec.min_length or not left
        lost += left

    assert packed.counts == CorpusCounts(
        blocks=len(blocks),
        tokens=sum(map(len, blocks)),
        empty=sum(not ids for ids in corpus),
        short=sum(len(kept[n]) < len(ids) for n, ids in enumerate(corpus)),
        short_tokens=lost,
    )


@settings(deadline=None)
@given(CORPUS, SPECS, st.integers(0, 12))
def test_cutting_the_corpus_anywhere_changes_nothing(corpus: Any, spec: Any, at: Any) -> None:
    whole, documents = pack(numbered(corpus), spec), numbered(corpus)
    parts = [pack(documents[:at], spec), pack(documents[at:], spec)]

    assert np.array_equal(whole.ids, np.concatenate([part.ids for part in parts]))
    assert np.array_equal(whole.documents, np.concatenate([part.documents for part in parts]))
    assert whole.counts == parts[0].counts + parts[1].counts


def test_blocks_are_full_but_for_the_last_of_a_document() -> None:
    spec = BlockSpec(max_length=6, min_length=3, cls_id=CLS, sep_id=SEP)
    packed = pack(numbered([[5] * 9, [6] * 4, [7]]), spec)

    assert packed.lengths.tolist() == [6, 6, 3, 6, 3]
    assert packed.documents.tolist() == [0, 0, 0, 1, 2]


def test_the_first_tokens_are_whole_blocks() -> None:
    spec = BlockSpec(max_length=6, min_length=3, cls_id=CLS, sep_id=SEP)
    packed = pack(numbered([range(3, 20)]), spec)
    assert packed.lengths.tolist() == [6, 6, 6, 6, 3]
    for tokens, blocks in ((1, 1), (6, 1), (7, 2), (27, 5), (99, 5)):
        first = packed.first(tokens)
        assert first.counts.blocks == len(first.lengths) == blocks
        assert first.ids.tolist() == packed.ids[: first.counts.tokens].tolist()


def test_notices_name_what_happened_only() -> None:
    spec = BlockSpec(max_length=6, min_length=5, cls_id=CLS, sep_id=SEP)
    assert CorpusCounts(blocks=3, tokens=18).notices(spec) == []
    said = CorpusCounts(empty=2, short=1, short_tokens=2).notices(spec)

    assert said == [
        "2 empty documents left out",
        "1 document and ends under 5 tokens left out (2 tokens)",
    ]
