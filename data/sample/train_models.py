"""Train the sample's masked language model and word vectors on generated sentences.

    python data/sample/train_models.py           write mlm/ and vectors.txt beside this script

The sentences come from the same grammar as the sample, from another stream; no validation or test
sentence of the sample is among them.
"""

from __future__ import annotations

import argparse
import re
import sys
import unicodedata
import zlib
from collections import Counter
from collections.abc import Iterator, Sequence
from itertools import islice
from pathlib import Path
from random import Random
from typing import Final

import torch
from gensim.models import Word2Vec
from grammar import Grammar
from make_sample import SEED, make_pairs, make_reviews
from paraphrases import PairGrammar
from pretrain import new_model, ranks, start_embeddings, train
from remarks import guests, key
from tokenizers import Tokenizer, normalizers, pre_tokenizers, trainers
from tokenizers.models import WordPiece
from transformers import BertForMaskedLM, BertTokenizer, PreTrainedTokenizerBase
from transformers.utils import logging

HERE: Final = Path(__file__).parent
SPECIAL: Final = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
LONGEST: Final = 128
WIDTH: Final = 32
_WORD = re.compile(r"[^\W_]+|[^\w\s]")
_TREEBANK = re.compile(
    r"[^\W_]+?(?=n't\b)|n't\b|'(?:s|re|ve|ll|d|m)\b|[^\W_]+(?:-[^\W_]+)*|[^\w\s]"
)


def main(arguments: Sequence[str] | None = None) -> int:
    """Train and write both models."""
    options = _parser().parse_args(arguments)
    logging.set_verbosity_error()  # type: ignore[no-untyped-call]
    torch.set_num_threads(1)
    held_out = held_out_sentences(options.seed)
    stream = guests(
        *_grammars(), Random(f"{options.seed} stream"), {key(text) for text in held_out}
    )
    corpus = [text for said in islice(stream, options.sentences // 2) for text in said]
    _say(f"{len(corpus):,} sentences, {len(held_out):,} of the sample held out")
    write_vectors(corpus, HERE / "vectors.txt", options.seed)
    if not options.vectors_only:
        tokenizer = write_tokenizer(corpus, HERE / "mlm", options.pieces)
        model = new_model(len(tokenizer), options.layers, options.seed)
        start_embeddings(model, tokenizer, corpus, seed=options.seed)
        train(model, tokenizer, corpus, epochs=options.epochs, seed=options.seed)
        model.to(torch.float16)  # type: ignore[arg-type]
        model.save_pretrained(HERE / "mlm")
        (HERE / "mlm" / "model.safetensors").chmod(0o644)
        report(HERE / "mlm", tokenizer, held_out)
    return 0


def held_out_sentences(seed: int) -> list[str]:
    """List the sentences of the sample's validation and test splits."""
    reviews, pairs = make_reviews(seed), make_pairs(seed)
    texts = [row.sentence for split in ("validation", "test") for row in reviews[split]]
    for split in ("validation", "test"):
        texts += [text for row in pairs[split] for text in (row.first, row.second)]
    return texts


def write_tokenizer(corpus: Sequence[str], folder: Path, n_pieces: int) -> PreTrainedTokenizerBase:
    """Make an uncased WordPiece vocabulary and write the tokenizer's files.

    Args:
        corpus: The sentences to learn from.
        folder: Where to write ``vocab.txt``, ``tokenizer.json`` and ``tokenizer_config.json``.
        n_pieces: How many pieces to keep.

    Returns:
        The tokenizer, read back from the folder.
    """
    pieces = vocabulary(corpus, n_pieces)
    folder.mkdir(exist_ok=True)
    ids = {piece: at for at, piece in enumerate(pieces)}
    written = BertTokenizer(vocab=ids, do_lower_case=True, model_max_length=LONGEST)
    written.save_pretrained(folder)
    (folder / "vocab.txt").write_text("".join(f"{piece}\n" for piece in pieces), encoding="utf-8")
    tokenizer: PreTrainedTokenizerBase = BertTokenizer.from_pretrained(folder)
    if len(tokenizer) != len(pieces):
        raise RuntimeError(f"wrote {len(pieces)} pieces, read back {len(tokenizer)}")
    return tokenizer


def vocabulary(corpus: Sequence[str], n_pieces: int) -> list[str]:
    """List the pieces: a third learned from the letters up, then the commonest words whole.

    The words left over, a few hundred of the rarer ones, split into several pieces.
    """
    learner = Tokenizer(WordPiece(unk_token=SPECIAL[1]))
    learner.normalizer = normalizers.BertNormalizer(lowercase=True)
    learner.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    trainer = trainers.WordPieceTrainer(
        vocab_size=n_pieces // 3, special_tokens=SPECIAL, show_progress=False
    )
    learner.train_from_iterator(corpus, trainer)
    learned = learner.get_vocab()
    pieces = sorted(learned, key=learned.__getitem__)
    counts = Counter(word for text in corpus for word in next(spellings(text)))
    commonest = sorted(counts, key=lambda word: (-counts[word], word))
    whole = [word for word in commonest if word not in learned]
    return pieces + whole[: n_pieces - len(pieces)]


def write_vectors(corpus: Sequence[str], path: Path, seed: int) -> None:
    """Learn word vectors and write them as GloVe does: a word and its numbers a line."""
    model = Word2Vec(
        [words for text in corpus for words in spellings(text)],
        vector_size=WIDTH,
        window=4,
        min_count=3,
        sg=1,
        negative=8,
        sample=1e-3,
        epochs=6,
        seed=seed,
        workers=1,
        hashfxn=lambda word: zlib.crc32(word.encode("utf-8")),
    )
    words = model.wv.index_to_key
    lines = (f"{word} " + " ".join(f"{x:.4f}" for x in model.wv[word]) for word in words)
    path.write_text("".join(line + "\n" for line in lines), encoding="utf-8")
    _say(f"vectors.txt: {len(words):,} words")


def spellings(sentence: str) -> Iterator[list[str]]:
    """Cut a sentence into lower-case words, in one or two ways.

    First as BERT does (cut at hyphens and apostrophes, no accents); then, where that differs, as
    treebanks do (``was n't``, ``well-kept``, ``café``), so that the vectors know both kinds.
    """
    text = sentence.lower()
    bare = "".join(
        sign for sign in unicodedata.normalize("NFD", text) if unicodedata.category(sign) != "Mn"
    )
    plain, treebank = _WORD.findall(bare), _TREEBANK.findall(text)
    yield plain
    if treebank != plain:
        yield treebank


def report(folder: Path, tokenizer: PreTrainedTokenizerBase, held_out: Sequence[str]) -> None:
    """Say how often the saved model finds a hidden piece of the held-out sentences."""
    model = BertForMaskedLM.from_pretrained(folder, dtype=torch.float32)
    found = list(ranks(model, tokenizer, held_out))
    for top in (1, 5, 15):
        share = sum(rank < top for rank in found) / len(found)
        _say(f"hidden piece among the first {top}: {share:.1%} of {len(found):,}")


def _grammars() -> tuple[Grammar, PairGrammar]:
    return Grammar.read()[0], PairGrammar.read()


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description="Train the sample's two models.")
    parser.add_argument("--sentences", type=int, default=70_000, help="default: %(default)s")
    parser.add_argument("--pieces", type=int, default=2_000, help="default: %(default)s")
    parser.add_argument("--layers", type=int, default=4, help="default: %(default)s")
    parser.add_argument("--epochs", type=int, default=4, help="default: %(default)s")
    parser.add_argument("--seed", type=int, default=SEED, help="default: %(default)s")
    parser.add_argument("--vectors-only", action="store_true", help="leave mlm/ as it is")
    return parser


def _say(message: str) -> None:
    print(message, file=sys.stderr)


if __name__ == "__main__":
    sys.exit(main())
