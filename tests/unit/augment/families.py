"""A tiny random masked LM of every family, each with a tokenizer trained here."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from tokenizers import AddedToken, Tokenizer, models, normalizers, pre_tokenizers, trainers
from tokenizers.decoders import ByteLevel as ByteDecoder
from tokenizers.implementations import BertWordPieceTokenizer
from tokenizers.processors import TemplateProcessing
from transformers import (
    BertConfig,
    BertForMaskedLM,
    BertTokenizer,
    DistilBertConfig,
    DistilBertForMaskedLM,
    ElectraConfig,
    ElectraForMaskedLM,
    ModernBertConfig,
    ModernBertForMaskedLM,
    MPNetConfig,
    MPNetForMaskedLM,
    MPNetTokenizer,
    PreTrainedTokenizerFast,
    RobertaConfig,
    RobertaForMaskedLM,
    RobertaTokenizer,
)

from tests.unit.augment.conftest import LETTERS, VOCABULARY, WORDS

SMALL = {"num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 64}
POSITIONS = 96
NAMES = ["Paris", "Anna", "Will"]
CORPUS = [
    sentence
    for word in [*WORDS, *(word.title() for word in WORDS), *NAMES]
    for sentence in (f"{word} a {word}", f"({word}) the-{word} it isn't {word}'s...") * 4
]


def opinionated(model: Any, folder: Path, *, seed: int = 0) -> None:
    """Save a model with big random weights, so that its logits differ clearly."""
    torch.manual_seed(seed)
    for parameter in model.parameters():
        if parameter.dim() > 1:
            torch.nn.init.normal_(parameter, std=0.3)
        else:
            torch.nn.init.normal_(parameter, mean=float(parameter.detach().mean()), std=0.1)
    model.save_pretrained(folder)


def byte_level_bpe(specials: list[str], *, normalizer: Any = None) -> Tokenizer:
    """A byte-level BPE trained on ``CORPUS``: words are tokens with and without their space."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.normalizer = normalizer
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = ByteDecoder()
    trainer = trainers.BpeTrainer(
        vocab_size=700,
        special_tokens=specials,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(CORPUS, trainer)
    return tokenizer


def roberta_tokenizer(**options: Any) -> RobertaTokenizer:
    specials = ["<s>", "<pad>", "</s>", "<unk>", "<mask>"]
    trained = json.loads(byte_level_bpe(specials).to_str())["model"]
    merges = [tuple(merge) for merge in trained["merges"]]
    return RobertaTokenizer(vocab=trained["vocab"], merges=merges, **options)


def roberta(folder: Path) -> None:
    tokenizer = roberta_tokenizer()
    tokenizer.save_pretrained(folder)
    config = RobertaConfig(
        vocab_size=len(tokenizer),
        hidden_size=32,
        max_position_embeddings=POSITIONS + 2,
        type_vocab_size=1,
        **SMALL,
    )
    opinionated(RobertaForMaskedLM(config), folder)


def modernbert_tokenizer() -> PreTrainedTokenizerFast:
    """As the published one: NFC, runs of spaces and a place holder as added tokens."""
    trained = byte_level_bpe(["[UNK]", "[CLS]", "[SEP]", "[PAD]"], normalizer=normalizers.NFC())
    trained.add_tokens([AddedToken("  ", normalized=True), AddedToken("|||IP|||", normalized=True)])
    trained.add_special_tokens([AddedToken("[MASK]", lstrip=True)])
    trained.post_processor = TemplateProcessing(
        single="[CLS]:0 $A:0 [SEP]:0",
        pair="[CLS]:0 $A:0 [SEP]:0 $B:0 [SEP]:0",
        special_tokens=[("[CLS]", 1), ("[SEP]", 2)],
    )
    names = {name: f"[{name[:-6].upper()}]" for name in ("cls_token", "sep_token", "pad_token")}
    return PreTrainedTokenizerFast(
        tokenizer_object=trained, unk_token="[UNK]", mask_token="[MASK]", **names
    )


def modernbert(folder: Path, *, layers: int = 3) -> None:
    """Layers 1, 2, 4, 5 look four tokens to both sides; the vocabulary is rounded up."""
    tokenizer = modernbert_tokenizer()
    tokenizer.save_pretrained(folder)
    config = ModernBertConfig(
        vocab_size=(len(tokenizer) // 64 + 1) * 64,
        hidden_size=32,
        max_position_embeddings=POSITIONS,
        local_attention=8,
        cls_token_id=1,
        sep_token_id=2,
        pad_token_id=3,
        bos_token_id=1,
        eos_token_id=2,
        **{**SMALL, "num_hidden_layers": layers},
    )
    opinionated(ModernBertForMaskedLM(config), folder)


def uncased_tokenizer(folder: Path) -> int:
    tokenizer = BertTokenizer(vocab={token: i for i, token in enumerate(VOCABULARY)})
    tokenizer.save_pretrained(folder)
    return len(tokenizer)


def electra(folder: Path) -> None:
    """A generator whose embeddings are narrower than its layers."""
    config = ElectraConfig(
        vocab_size=uncased_tokenizer(folder),
        hidden_size=32,
        embedding_size=16,
        max_position_embeddings=POSITIONS,
        **SMALL,
    )
    opinionated(ElectraForMaskedLM(config), folder)


def distilbert(folder: Path) -> None:
    config = DistilBertConfig(
        vocab_size=uncased_tokenizer(folder),
        dim=32,
        hidden_dim=64,
        n_layers=2,
        n_heads=2,
        max_position_embeddings=POSITIONS,
    )
    opinionated(DistilBertForMaskedLM(config), folder)


def mpnet(folder: Path) -> None:
    """BERT's words after special tokens of its own, as the published one."""
    words = [token for token in VOCABULARY if token not in ("[PAD]", "[CLS]", "[SEP]", "[MASK]")]
    tokens = ["<s>", "<pad>", "</s>", "<unk>", *words, "<mask>"]
    tokenizer = MPNetTokenizer(vocab={token: i for i, token in enumerate(tokens)})
    tokenizer.add_tokens([AddedToken("<unk>", special=True)])  # beside [UNK], which it reads
    tokenizer.save_pretrained(folder)
    config = MPNetConfig(
        vocab_size=len(tokenizer), hidden_size=32, max_position_embeddings=POSITIONS + 2, **SMALL
    )
    opinionated(MPNetForMaskedLM(config), folder)


def cased_bert(folder: Path) -> None:
    trained = BertWordPieceTokenizer(lowercase=False, strip_accents=False)
    letters = " ".join(f"{letter}{letter}" for letter in LETTERS)
    trained.train_from_iterator([*CORPUS, letters], vocab_size=400, show_progress=False)
    tokenizer = BertTokenizer(vocab=trained.get_vocab(), do_lower_case=False)
    tokenizer.save_pretrained(folder)
    config = BertConfig(
        vocab_size=len(tokenizer), hidden_size=32, max_position_embeddings=POSITIONS, **SMALL
    )
    opinionated(BertForMaskedLM(config), folder)


BUILDERS: dict[str, Callable[[Path], None]] = {
    "roberta": roberta,
    "modernbert": modernbert,
    "electra": electra,
    "distilbert": distilbert,
    "mpnet": mpnet,
    "cased_bert": cased_bert,
}
