"""Damaged model folders: what downloads, copies, editors and other tools leave behind."""

from __future__ import annotations

import gzip
import json
import os
import struct
import zipfile
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file

POINTER = b"version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 440449768\n"
PAGE = b"<!DOCTYPE html>\n<html><head><title>Sign in</title></head></html>\n"
LOADERS = frozenset(("mlm", "similarity", "filter", "teacher", "init", "general", "student"))
HUGE = 10**9
SAFE, PICKLED, INDEX = "model.safetensors", "pytorch_model.bin", "model.safetensors.index.json"


@dataclass(frozen=True)
class Damage:
    """One way in which a folder is damaged.

    Attributes:
        name: In a test's name.
        do: Damages the folder.
        says: A part of the sentence or its hint that a person must see.
        unseen: Loaders that need nothing of what is damaged.
    """

    name: str
    do: Callable[[Path], object]
    says: str
    unseen: frozenset[str] = field(default=frozenset())


def put(name: str, content: bytes) -> Callable[[Path], object]:
    """Overwrite a file."""
    return lambda folder: (folder / name).write_bytes(content)


def config(**changes: Any) -> Callable[[Path], object]:
    """Change keys of ``config.json``; ``...`` takes a key away."""

    def do(folder: Path) -> None:
        file = folder / "config.json"
        raw = {**json.loads(file.read_text()), **changes}
        file.write_text(json.dumps({k: v for k, v in raw.items() if v is not ...}))

    return do


def edit(name: str, change: Callable[[Any], object]) -> Callable[[Path], object]:
    """Change a JSON file in place."""

    def do(folder: Path) -> None:
        value = json.loads((folder / name).read_text())
        change(value)
        (folder / name).write_text(json.dumps(value))

    return do


def cut(name: str, share: float) -> Callable[[Path], object]:
    """Keep the first part of a file."""

    def do(folder: Path) -> None:
        content = (folder / name).read_bytes()
        (folder / name).write_bytes(content[: int(len(content) * share)])

    return do


def pickled(content: bytes | None = None, value: Any = None) -> Callable[[Path], object]:
    """``pytorch_model.bin`` in place of safetensors: some bytes, or what torch saves."""

    def do(folder: Path) -> None:
        tensors = load_file(folder / SAFE)
        (folder / SAFE).unlink()
        if content is None:
            torch.save(tensors if value is None else value, folder / PICKLED)
        else:
            (folder / PICKLED).write_bytes(content)

    return do


def sharded(index: Any, shard: bytes | None = None, kind: str = SAFE) -> Callable[[Path], object]:
    """Weights in a shard, with this index in place of the right one (None: the right one)."""

    def do(folder: Path) -> None:
        name = kind.replace(".", "-00001-of-00001.")
        tensors = load_file(folder / SAFE)
        if kind == PICKLED:
            torch.save(tensors, folder / name)
            (folder / SAFE).unlink()
        else:
            (folder / SAFE).rename(folder / name)
        if shard is not None:
            (folder / name).write_bytes(shard)
        right = {"metadata": {}, "weight_map": dict.fromkeys(tensors, name)}
        value = right if index is None else index(right) if callable(index) else index
        (folder / f"{kind}.index.json").write_text(json.dumps(value))

    return do


def pointing(place: str) -> Callable[[Path], object]:
    """An index whose tensors lie elsewhere; the file is there."""

    def do(folder: Path) -> None:
        elsewhere = folder.parent / "elsewhere"
        elsewhere.mkdir(exist_ok=True)
        (elsewhere / SAFE).write_bytes((folder / SAFE).read_bytes())
        target = place.format(elsewhere=elsewhere)
        sharded(lambda right: {"weight_map": dict.fromkeys(right["weight_map"], target)})(folder)

    return do


def vocabulary(change: Callable[[list[bytes]], list[bytes]]) -> Callable[[Path], object]:
    """A folder with ``vocab.txt`` as its only tokenizer file, some of whose lines are changed."""

    def do(folder: Path) -> None:
        vocab = json.loads((folder / "tokenizer.json").read_text())["model"]["vocab"]
        words = [word.encode() for word in sorted(vocab, key=vocab.__getitem__)]
        (folder / "tokenizer.json").unlink()
        (folder / "vocab.txt").write_bytes(b"\n".join(change(words)) + b"\n")

    return do


def bomb(folder: Path) -> None:
    """A small zip with a record of four megabytes of zeros."""
    pickled()(folder)
    whole = zipfile.ZipFile(folder / PICKLED)
    records = {info.filename: whole.read(info) for info in whole.infolist()}
    with zipfile.ZipFile(folder / PICKLED, "w", zipfile.ZIP_DEFLATED) as packed:
        for name, content in records.items():
            packed.writestr(name, content if "/data/0" not in name else bytes(2**22))


def header(text: bytes, length: int | None = None) -> bytes:
    """A safetensors file with this header."""
    return struct.pack("<Q", len(text) if length is None else length) + text


def without(names: str) -> Callable[[Path], object]:
    """Take tensors away."""

    def do(folder: Path) -> None:
        kept = {k: v for k, v in load_file(folder / SAFE).items() if names not in k}
        save_file(kept, folder / SAFE, metadata={"format": "pt"})

    return do


def replaced_by(make: Callable[[Path], object], name: str) -> Callable[[Path], object]:
    """Something else in a file's place."""

    def do(folder: Path) -> None:
        (folder / name).unlink()
        make(folder / name)

    return do


def rename(old: str, new: str) -> Callable[[Path], object]:
    """Move a file."""
    return lambda folder: (folder / old).rename(folder / new)


CONFIG_ALONE = frozenset({"student"})
CONFIGS = [
    Damage("list", put("config.json", b"[]"), "config.json"),
    Damage("null", put("config.json", b"null"), "config.json"),
    Damage("string", put("config.json", b'"bert"'), "config.json"),
    Damage("empty", put("config.json", b""), "empty"),
    Damage("cut", cut("config.json", 0.5), "config.json"),
    Damage("pointer", put("config.json", POINTER), "git lfs pull"),
    Damage("page", put("config.json", PAGE), "web page"),
    Damage("utf16", put("config.json", '{"model_type": "bert"}'.encode("utf-16")), "UTF-16"),
    Damage("latin1", put("config.json", b'{"model_type": "b\xe9rt"}'), "UTF-8"),
    Damage("deep", put("config.json", b'{"a":' * 10**5 + b"1" + b"}" * 10**5), "nested"),
    Damage("twice", put("config.json", b'{"model_type": "bert", "model_type": "bert"}'), "twice"),
    Damage("folder", replaced_by(Path.mkdir, "config.json"), "config.json"),
    Damage("pipe", replaced_by(os.mkfifo, "config.json"), "config.json"),
    Damage("type-number", config(model_type=5), "model_type"),
    Damage("auto-map", config(auto_map=True), "auto_map"),
    Damage("type-unknown", config(model_type="gpt-17"), "gpt-17"),
    Damage("type-list", config(model_type=["bert"]), "model_type"),
    Damage("architectures-string", config(architectures="BertModel"), "architectures"),
    Damage("architectures-number", config(architectures=[5]), "architectures"),
    Damage("remote-code", config(model_type="own", auto_map={"AutoConfig": "a.B"}), ""),
    Damage("width-string", config(hidden_size="64"), "hidden_size"),
    Damage("width-float", config(hidden_size=32.0), "hidden_size"),
    Damage("width-negative", config(hidden_size=-32), "hidden_size"),
    Damage("width-zero", config(hidden_size=0), "hidden_size"),
    Damage("width-list", config(hidden_size=[32]), "hidden_size"),
    Damage("width-true", config(hidden_size=True), "hidden_size"),
    Damage("width-null", config(hidden_size=None), "hidden_size"),
    Damage("width-huge", config(hidden_size=HUGE), "hidden_size"),
    Damage("width-other", config(hidden_size=64), ""),
    Damage("heads", config(num_attention_heads=3), "heads"),
    Damage("heads-zero", config(num_attention_heads=0), "num_attention_heads"),
    Damage("layers-zero", config(num_hidden_layers=0), "num_hidden_layers"),
    Damage("layers-huge", config(num_hidden_layers=HUGE), "num_hidden_layers"),
    Damage("vocabulary-huge", config(vocab_size=HUGE), "vocab_size"),
    Damage("vocabulary-large", config(vocab_size=10**6), ""),
    Damage("vocabulary-small", config(vocab_size=50), ""),
    Damage("vocabulary-zero", config(vocab_size=0), "vocab_size"),
    Damage("feed-forward-huge", config(intermediate_size=HUGE), "intermediate_size"),
    Damage("feed-forward-dict", config(intermediate_size={}), "intermediate_size"),
    Damage("positions-huge", config(max_position_embeddings=HUGE), "max_position_embeddings"),
    Damage("positions-none", config(max_position_embeddings=-1), "max_position_embeddings"),
    Damage("positions-tiny", config(max_position_embeddings=2), "position"),
    Damage("segments-zero", config(type_vocab_size=0), "token_type"),
    Damage("segments-negative", config(type_vocab_size=-1), "type_vocab_size"),
    Damage("padding-outside", config(pad_token_id=10**6), "pad_token_id"),
    Damage("padding-string", config(pad_token_id="0"), "pad_token_id"),
    Damage("labels-huge", config(id2label=..., label2id=..., num_labels=HUGE), "num_labels"),
    Damage("labels-zero", config(id2label=..., label2id=..., num_labels=0), "num_labels"),
    Damage("labels-count", config(num_labels=3), "num_labels", frozenset({"mlm"})),
    Damage("labels-list", config(id2label=["no", "yes"]), "id2label"),
    Damage("labels-keys", config(id2label={"a": "no", "b": "yes"}), "id2label"),
    Damage("labels-gap", config(id2label={"0": "no", "2": "yes"}), "id2label"),
    Damage("labels-null", config(id2label={"0": None, "1": "yes"}), "id2label"),
    Damage("label2id-list", config(label2id=["no", "yes"]), "label2id"),
    Damage("activation", config(hidden_act="geluu"), "geluu"),
    Damage("activation-number", config(hidden_act=5), "hidden_act"),
    Damage("eps-string", config(layer_norm_eps="1e-12"), "layer_norm_eps"),
    Damage("eps-null", config(layer_norm_eps=None), "layer_norm_eps"),
    Damage("dropout-null", config(hidden_dropout_prob=None), "hidden_dropout_prob"),
    Damage("dropout-two", config(hidden_dropout_prob=2.0), "dropout"),
    Damage("other-file", config(configuration_files=["config.4.0.0.json"]), "configuration_files"),
    Damage("dtype", config(dtype="float33", torch_dtype="float33"), "float33"),
]
WEIGHTS = [
    Damage("gone", lambda folder: (folder / SAFE).unlink(), SAFE, CONFIG_ALONE),
    Damage("empty", put(SAFE, b""), "empty"),
    Damage("pointer", put(SAFE, POINTER), "git lfs pull"),
    Damage("page", put(SAFE, PAGE), "web page"),
    Damage("gzip", put(SAFE, gzip.compress(b"weights")), "gunzip"),
    Damage("foreign", put(SAFE, b"not tensors at all, but text\n" * 9), SAFE),
    Damage("zeros", put(SAFE, bytes(4096)), SAFE),
    Damage("cut-header", cut(SAFE, 0.001), SAFE),
    Damage("cut", cut(SAFE, 0.9), SAFE),
    Damage("folder", replaced_by(Path.mkdir, SAFE), SAFE),
    Damage("pipe", replaced_by(os.mkfifo, SAFE), SAFE),
    Damage("dangling", replaced_by(lambda path: path.symlink_to("nowhere"), SAFE), SAFE),
    Damage("header-list", put(SAFE, header(b"[]")), SAFE),
    Damage("header-long", put(SAFE, header(b"{}", 2**60)), SAFE),
    Damage("header-empty", put(SAFE, header(b"{}")), SAFE),
    Damage("pickled-empty", pickled(b""), "empty"),
    Damage("pickled-pointer", pickled(POINTER), "git lfs pull"),
    Damage("pickled-page", pickled(PAGE), "web page"),
    Damage("pickled-text", pickled(b"weights, in words"), PICKLED),
    Damage("pickled-zeros", pickled(bytes(999)), PICKLED),
    Damage("pickled-list", pickled(value=[torch.ones(2)]), PICKLED),
    Damage("pickled-tensor", pickled(value=torch.ones(2)), PICKLED),
    Damage("pickled-number", pickled(value=7), PICKLED),
    Damage("pickled-nothing", pickled(value={}), PICKLED),
    Damage("pickled-object", pickled(value={"a": Damage}), PICKLED),
    Damage("pickled-cut", lambda f: (pickled()(f), cut(PICKLED, 0.7)(f)), PICKLED),
    Damage("pickled-bomb", bomb, PICKLED),
    Damage("pickled-zip", pickled(b"PK\x03\x04" + bytes(99)), PICKLED),
    Damage("index-object", sharded({}), INDEX),
    Damage("index-list", sharded([]), INDEX),
    Damage("index-null", sharded(lambda right: None), INDEX),
    Damage("index-names", sharded({"weight_map": ["a"]}), INDEX),
    Damage("index-numbers", sharded({"weight_map": {"a": 5}}), INDEX),
    Damage("index-nothing", sharded({"weight_map": {}}), INDEX),
    Damage("index-parent", pointing("../elsewhere/model.safetensors"), INDEX),
    Damage("index-absolute", pointing("{elsewhere}/model.safetensors"), INDEX),
    Damage("index-gone", pointing("model-00002-of-00002.safetensors"), "model-00002-of-00002"),
    Damage("index-itself", pointing("."), INDEX),
    Damage("index-file", pointing("a" * 300 + ".safetensors"), "a" * 100),
    Damage("index-long", pointing("a" * 300), INDEX),
    Damage("index-nul", pointing("a\0b"), INDEX),
    Damage("shard-text", sharded(None, b"text"), "model-00001-of-00001"),
    Damage("shard-pointer", sharded(None, POINTER), "git lfs pull"),
    Damage("shard-pickled", sharded(None, b"text", PICKLED), "pytorch_model-00001-of-00001"),
    Damage("shard-pickled-pointer", sharded(None, POINTER, PICKLED), "git lfs pull"),
    Damage("explicit", config(transformers_weights="../elsewhere.safetensors"), ""),
]
TOKENIZERS = [
    Damage(
        "gone", lambda folder: (folder / "tokenizer.json").unlink(), "tokenizer.json", CONFIG_ALONE
    ),
    Damage("empty", put("tokenizer.json", b""), "empty"),
    Damage("pointer", put("tokenizer.json", POINTER), "git lfs pull"),
    Damage("text", put("tokenizer.json", b"a tokenizer"), "tokenizer.json"),
    Damage("list", put("tokenizer.json", b"[]"), "tokenizer.json"),
    Damage("null", put("tokenizer.json", b"null"), "tokenizer.json"),
    Damage("no-keys", put("tokenizer.json", b"{}"), "tokenizer.json"),
    Damage("model-null", edit("tokenizer.json", lambda v: v.update(model=None)), "tokenizer.json"),
    Damage("model-empty", edit("tokenizer.json", lambda v: v.update(model={})), "tokenizer.json"),
    Damage("no-model", edit("tokenizer.json", lambda v: v.pop("model")), "tokenizer.json"),
    Damage("no-words", edit("tokenizer.json", lambda v: v["model"].update(vocab={})), ""),
    Damage(
        "words-list", edit("tokenizer.json", lambda v: v["model"].update(vocab=["a"])), "tokenizer"
    ),
    Damage(
        "ids-negative", edit("tokenizer.json", lambda v: v["model"]["vocab"].update(a=-1)), "token"
    ),
    Damage(
        "ids-outside",
        edit("tokenizer.json", lambda v: v["model"]["vocab"].update(a=10**6)),
        "token",
    ),
    Damage("pieces", edit("tokenizer.json", lambda v: v.update(pre_tokenizer="x")), "tokenizer"),
    Damage(
        "no-specials",
        edit("tokenizer.json", lambda v: v.update(post_processor=None)),
        "special",
        LOADERS,
    ),
    Damage(
        "no-unknown", edit("tokenizer.json", lambda v: v["model"]["vocab"].pop("[UNK]")), "[UNK]"
    ),
    Damage("cut", cut("tokenizer.json", 0.5), "tokenizer.json"),
    Damage("folder", replaced_by(Path.mkdir, "tokenizer.json"), "tokenizer.json"),
    Damage("pipe", replaced_by(os.mkfifo, "tokenizer.json"), "tokenizer.json"),
    Damage("settings-list", put("tokenizer_config.json", b"[]"), "tokenizer_config.json"),
    Damage("settings-empty", put("tokenizer_config.json", b""), "tokenizer_config.json"),
    Damage("settings-text", put("tokenizer_config.json", b"x"), "tokenizer_config.json"),
    Damage(
        "class-number",
        edit("tokenizer_config.json", lambda v: v.update(tokenizer_class=5)),
        "token",
    ),
    Damage(
        "length-zero",
        edit("tokenizer_config.json", lambda v: v.update(model_max_length=0)),
        "model_max_length",
    ),
    Damage(
        "length-string",
        edit("tokenizer_config.json", lambda v: v.update(model_max_length="x")),
        "model_max_length",
    ),
    Damage(
        "length-negative",
        edit("tokenizer_config.json", lambda v: v.update(model_max_length=-1)),
        "model_max_length",
    ),
    Damage("specials-list", put("special_tokens_map.json", b"[]"), "special_tokens_map.json"),
    Damage("added-list", put("added_tokens.json", b"[1]"), "added_tokens.json"),
    Damage("words-empty", vocabulary(lambda words: []), "vocab.txt"),
    Damage("words-latin1", vocabulary(lambda words: [*words[:-1], b"caf\xe9"]), "vocab.txt"),
    Damage("words-utf16", vocabulary(lambda words: [b"\xff\xfea\0", *words[1:]]), "UTF-16"),
    Damage("words-pointer", vocabulary(lambda words: [POINTER.strip()]), "git lfs pull"),
    Damage("words-twice", vocabulary(lambda words: [*words[:-1], words[50]]), "twice"),
    Damage("words-few", vocabulary(lambda words: words[:20]), "tokens"),
    Damage("words-no-mask", vocabulary(lambda w: [x for x in w if x != b"[MASK]"]), "[MASK]"),
    Damage("words-no-unknown", vocabulary(lambda w: [x for x in w if x != b"[UNK]"]), "[UNK]"),
    Damage(
        "words-no-start", vocabulary(lambda w: [b"zz" if x == b"[CLS]" else x for x in w]), "CLS"
    ),
]
DAMAGES = {
    f"{kind}-{damage.name}": damage
    for kind, damages in (("config", CONFIGS), ("weights", WEIGHTS), ("tokenizer", TOKENIZERS))
    for damage in damages
}
