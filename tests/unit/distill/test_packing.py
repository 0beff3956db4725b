import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from distill.data.packing import Counts, Frame, Pieces, pack

OPENING, CLOSING = 1, 2
PIECES = st.lists(st.integers(3, 40), max_size=70)
CORPUS = st.lists(PIECES, max_size=12)
FRAMES = st.integers(3, 20).flatmap(
    lambda length: st.builds(
        Frame,
        length=st.just(length),
        minimum=st.integers(3, length),
        opening=st.just(OPENING),
        closing=st.just(CLOSING),
    )
)


def numbered(corpus):
    return [Pieces(number, ids) for number, ids in enumerate(corpus)]


def blocks_of(packed):
    ends = np.cumsum(packed.lengths)
    return [packed.ids[end - n : end].tolist() for end, n in zip(ends, packed.lengths, strict=True)]


@given(CORPUS, FRAMES)
def test_every_piece_of_every_document_is_in_its_blocks_in_order_or_counted(corpus, frame):
    packed = pack(numbered(corpus), frame)
    blocks = blocks_of(packed)
    kept = {number: [] for number in range(len(corpus))}
    for block, document in zip(blocks, packed.documents, strict=True):
        assert frame.minimum <= len(block) <= frame.length
        assert (block[0], block[-1]) == (OPENING, CLOSING)
        kept[int(document)] += block[1:-1]
    lost = 0
    for number, ids in enumerate(corpus):
        assert kept[number] == ids[: len(kept[number])]
        left = len(ids) - len(kept[number])
        assert left + 2 < frame.minimum or not left
        lost += left
    assert packed.counts == Counts(
        blocks=len(blocks),
        tokens=sum(map(len, blocks)),
        empty=sum(not ids for ids in corpus),
        short=sum(len(kept[n]) < len(ids) for n, ids in enumerate(corpus)),
        short_tokens=lost,
    )


@given(CORPUS, FRAMES, st.integers(0, 12))
def test_cutting_the_corpus_anywhere_changes_nothing(corpus, frame, at):
    whole, documents = pack(numbered(corpus), frame), numbered(corpus)
    parts = [pack(documents[:at], frame), pack(documents[at:], frame)]
    assert np.array_equal(whole.ids, np.concatenate([part.ids for part in parts]))
    assert np.array_equal(whole.documents, np.concatenate([part.documents for part in parts]))
    assert whole.counts == parts[0].counts + parts[1].counts


def test_blocks_are_full_but_for_the_last_of_a_document():
    frame = Frame(length=6, minimum=3, opening=OPENING, closing=CLOSING)
    packed = pack([Pieces(0, [5] * 9), Pieces(1, [6] * 4), Pieces(2, [7])], frame)
    assert packed.lengths.tolist() == [6, 6, 3, 6, 3]
    assert packed.documents.tolist() == [0, 0, 0, 1, 2]


def test_the_first_tokens_are_whole_blocks():
    frame = Frame(length=6, minimum=3, opening=OPENING, closing=CLOSING)
    packed = pack([Pieces(0, list(range(3, 20)))], frame)
    assert packed.lengths.tolist() == [6, 6, 6, 6, 3]
    for tokens, blocks in ((1, 1), (6, 1), (7, 2), (27, 5), (99, 5)):
        first = packed.first(tokens)
        assert first.counts.blocks == len(first.lengths) == blocks
        assert first.ids.tolist() == packed.ids[: first.counts.tokens].tolist()


def test_reasons_name_what_happened_only():
    frame = Frame(length=6, minimum=5, opening=OPENING, closing=CLOSING)
    assert Counts(blocks=3, tokens=18).reasons(frame) == []
    said = Counts(empty=2, short=1, short_tokens=2).reasons(frame)
    assert said == [
        "2 empty documents left out",
        "1 documents and ends under 5 pieces left out (2 pieces)",
    ]
