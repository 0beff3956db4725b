"""Train the sample's masked language model on plain sentences.

Half of what the guests say stands alone; the rest goes in pairs, so that both segment ids are
learned and one sentence of a guest helps to guess the other.  A sentence is never paired with
itself: the model must not learn to copy.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

import torch
from gensim.models import Word2Vec
from torch import Tensor
from torch.nn.functional import cross_entropy
from torch.optim.lr_scheduler import LambdaLR
from transformers import BertConfig, BertForMaskedLM, PreTrainedTokenizerBase

Encoded = tuple[list[int], int]
"""Token ids, and where the second segment begins (the length when there is none)."""

SINGLE_SHARE: Final = 0.5
MASKED_SHARE: Final = 0.15
BATCH_TOKENS: Final = 1024
PEAK_RATE: Final = 1.5e-3
WARM_UP: Final = 0.06
REPORT_EVERY: Final = 200
IGNORED: Final = -100
START_WIDTH: Final = 0.05
"""Standard deviation of the numbers that the piece embeddings start with."""


@dataclass(frozen=True, slots=True)
class Batch:
    """One padded batch; every tensor has the shape (sequences, length)."""

    ids: Tensor
    segments: Tensor
    attention: Tensor
    labels: Tensor


def new_model(n_words: int, layers: int, seed: int) -> BertForMaskedLM:
    """Build an untrained model, the same one for the same seed."""
    torch.manual_seed(seed)
    config = BertConfig(
        vocab_size=n_words,
        hidden_size=128,
        num_hidden_layers=layers,
        num_attention_heads=4,
        intermediate_size=512,
        max_position_embeddings=128,
        hidden_dropout_prob=0.05,
        attention_probs_dropout_prob=0.05,
    )
    return BertForMaskedLM(config)


def start_embeddings(
    model: BertForMaskedLM,
    tokenizer: PreTrainedTokenizerBase,
    sentences: Sequence[str],
    *,
    seed: int,
) -> None:
    """Give the piece embeddings a head start: word2vec vectors of the pieces.

    From random embeddings the first third of the training is spent finding out which pieces are
    alike; these vectors know it after some seconds.

    Args:
        model: An untrained model, changed in place.
        tokenizer: Its tokenizer.
        sentences: What to learn from.
        seed: The seed of all choices.
    """
    encoded = tokenizer(list(sentences), add_special_tokens=False)["input_ids"]
    weight: Tensor = model.bert.embeddings.word_embeddings.weight
    learned = Word2Vec(
        [list(map(str, ids)) for ids in encoded],
        vector_size=weight.shape[1],
        window=3,
        min_count=1,
        negative=6,
        epochs=3,
        seed=seed,
        workers=1,
    ).wv
    vectors = torch.from_numpy(learned.vectors)
    vectors = vectors - vectors.mean(0)
    rows = torch.tensor([int(piece) for piece in learned.index_to_key])
    with torch.no_grad():
        weight[rows] = vectors * (START_WIDTH / vectors.std())


def train(
    model: BertForMaskedLM,
    tokenizer: PreTrainedTokenizerBase,
    sentences: Sequence[str],
    *,
    epochs: int,
    seed: int,
) -> None:
    """Train a model in place, reporting the loss on stderr.

    Args:
        model: The model.
        tokenizer: Its tokenizer.
        sentences: What to learn from, two of a guest after each other; every epoch pairs, masks
            and shuffles them anew.
        epochs: How often each sentence is seen.
        seed: The seed of all choices.
    """
    draw = torch.Generator().manual_seed(seed)
    encoded = tokenizer(list(sentences), add_special_tokens=False)["input_ids"]
    plans = [_batches(_arrange(encoded, tokenizer, draw), draw) for _ in range(epochs)]
    n_steps = sum(map(len, plans))
    optimizer = torch.optim.AdamW(model.parameters(), lr=PEAK_RATE, weight_decay=0.01)
    schedule = LambdaLR(optimizer, lambda step: _rate(step, n_steps))
    model.train()
    started, total = time.monotonic(), 0.0
    for step, sequences in enumerate((batch for plan in plans for batch in plan), start=1):
        loss = _loss(model, mask(sequences, tokenizer, draw))
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        schedule.step()
        total += loss.item()
        if step % REPORT_EVERY == 0:
            spent = time.monotonic() - started
            mean = total / REPORT_EVERY
            print(f"step {step}/{n_steps}  loss {mean:.3f}  {spent:.0f} s", file=sys.stderr)
            total = 0.0
    model.train(mode=False)


def mask(
    sequences: Sequence[Encoded], tokenizer: PreTrainedTokenizerBase, draw: torch.Generator
) -> Batch:
    """Pad sequences and hide some of their pieces, as BERT does (80% masked, 10% random)."""
    length = max(len(ids) for ids, _ in sequences)
    ids = torch.zeros(len(sequences), length, dtype=torch.long)
    segments = torch.zeros_like(ids)
    for row, (pieces, second) in enumerate(sequences):
        ids[row, : len(pieces)] = torch.tensor(pieces)
        segments[row, second : len(pieces)] = 1
    special = torch.isin(ids, torch.tensor(tokenizer.all_special_ids))
    chosen = (torch.rand(ids.shape, generator=draw) < MASKED_SHARE) & ~special
    labels = ids.masked_fill(~chosen, IGNORED)
    fate = torch.rand(ids.shape, generator=draw)
    random_ids = torch.randint(len(tokenizer), ids.shape, generator=draw)
    ids_in = torch.where(chosen & (fate < 0.8), tokenizer.mask_token_id or 0, ids)
    ids_in = torch.where(chosen & (fate > 0.9), random_ids, ids_in)
    return Batch(ids_in, segments, (ids != tokenizer.pad_token_id).long(), labels)


@torch.no_grad()
def ranks(
    model: BertForMaskedLM, tokenizer: PreTrainedTokenizerBase, sentences: Sequence[str]
) -> Iterator[int]:
    """Hide every piece of every sentence in turn and give the rank of the right one (0 = best)."""
    for sentence in sentences:
        ids = torch.tensor(tokenizer(sentence)["input_ids"])
        inner = torch.arange(1, len(ids) - 1)
        hidden = ids.repeat(len(inner), 1)
        hidden[torch.arange(len(inner)), inner] = tokenizer.mask_token_id or 0
        logits = model(input_ids=hidden).logits[torch.arange(len(inner)), inner]
        right = logits.gather(1, ids[inner, None])
        yield from (logits > right).sum(1).tolist()


def _loss(model: BertForMaskedLM, batch: Batch) -> Tensor:
    with torch.autocast("cpu", dtype=torch.bfloat16):
        hidden = model.bert(
            input_ids=batch.ids, token_type_ids=batch.segments, attention_mask=batch.attention
        ).last_hidden_state
        chosen = batch.labels != IGNORED
        logits = model.cls(hidden[chosen])
    return cross_entropy(logits.float(), batch.labels[chosen])


def _arrange(
    encoded: Sequence[list[int]], tokenizer: PreTrainedTokenizerBase, draw: torch.Generator
) -> list[Encoded]:
    """Lay out every guest's two sentences, alone or as a pair in either order."""
    first, last = [tokenizer.cls_token_id or 0], [tokenizer.sep_token_id or 0]
    made: list[Encoded] = []
    for at in range(0, len(encoded), 2):
        said = encoded[at : at + 2]
        if torch.rand((), generator=draw) < SINGLE_SHARE:
            made += [(first + ids + last, len(ids) + 2) for ids in said]
        else:
            start = int(torch.randint(2, (), generator=draw))
            one, other = said[start], said[1 - start]
            made.append((first + one + last + other + last, len(one) + 2))
    return made


def _batches(sequences: list[Encoded], draw: torch.Generator) -> list[list[Encoded]]:
    """Cut sequences of like length into batches of about ``BATCH_TOKENS`` pieces, shuffled."""
    batches: list[list[Encoded]] = [[]]
    for sequence in sorted(sequences, key=lambda pair: len(pair[0])):
        if (len(batches[-1]) + 1) * len(sequence[0]) > BATCH_TOKENS:
            batches.append([])
        batches[-1].append(sequence)
    order = torch.randperm(len(batches), generator=draw).tolist()
    return [batches[at] for at in order]


def _rate(step: int, n_steps: int) -> float:
    """Give the share of the peak rate: a rise in a straight line, then a fall to zero."""
    warm = max(1, round(WARM_UP * n_steps))
    return min((step + 1) / warm, max(0.0, (n_steps - step) / (n_steps - warm)))
