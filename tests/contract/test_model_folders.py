"""The door to model folders: where a model lies, how large it may be, what its tokens are."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from augment.contract import ContractError, FileMissing
from augment.contract.model_folders import (
    check_size,
    check_special_tokens,
    check_tokenizer,
    check_weights,
    find_model,
    read_model_config,
)
from augment.contract.models import loading


def test_a_model_larger_than_its_weights_is_never_made() -> None:
    with pytest.raises(ContractError, match="10,000,000,000 numbers; its weights take 9 bytes"):
        check_size("a/b", lambda: nn.Linear(10**5, 10**5, bias=False), 9, ContractError)


def test_a_model_larger_than_the_machine_is_never_made() -> None:
    with pytest.raises(ContractError, match="GB in memory; this machine has"):
        check_size("a/b", lambda: nn.Linear(10**7, 10**7), 0, ContractError)
    check_size("a/b", lambda: nn.Linear(10**3, 10**3), 0, ContractError)


def test_looking_at_a_size_draws_no_random_numbers() -> None:
    torch.manual_seed(0)
    check_size("a/b", lambda: nn.Linear(9, 9), 0, ContractError)
    drawn = torch.rand(1)

    torch.manual_seed(0)
    assert torch.equal(drawn, torch.rand(1))


def test_a_folder_without_weights_takes_no_bytes(tmp_path: Path) -> None:
    assert check_weights(tmp_path, ContractError).size == 0


def test_weights_may_lie_elsewhere_by_a_link(tmp_path: Path) -> None:
    """As in the hub's cache, whose snapshots link to files by their digests."""
    from safetensors.torch import save_file

    (tmp_path / "blobs").mkdir()
    (tmp_path / "model").mkdir()
    save_file({"a": torch.ones(2)}, tmp_path / "blobs" / "4d7a")
    (tmp_path / "model" / "model.safetensors").symlink_to(Path("..", "blobs", "4d7a"))

    assert check_weights(tmp_path / "model", ContractError).size == (
        (tmp_path / "blobs" / "4d7a").stat().st_size
    )


@pytest.mark.parametrize("name", ["./none", "a/b/c", "~/none-here"])
def test_a_place_that_is_none(name: str) -> None:
    with pytest.raises(FileMissing, match="there is no model folder"):
        find_model(name, FileMissing, "Look.")


def test_a_file_is_no_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "model").write_text("")

    with pytest.raises(FileMissing, match="there is no model folder"):
        find_model("model", FileMissing, "Look.")


def test_the_configuration_as_it_stands(tmp_path: Path) -> None:
    text = '{"hidden_size": 8, "id2label": {"0": "a", "1": 1}, "max_position_embeddings": null}'
    (tmp_path / "config.json").write_text(text)

    assert read_model_config(tmp_path, ContractError)["id2label"] == {"0": "a", "1": 1}


@pytest.mark.parametrize("family", ["roberta", "xlm-roberta", "camembert"])
def test_positions_that_are_counted_from_no_padding(tmp_path: Path, family: str) -> None:
    text = f'{{"model_type": "{family}", "pad_token_id": null}}'
    (tmp_path / "config.json").write_text(text)

    with pytest.raises(ContractError, match="pad_token_id is None; positions are counted from it"):
        read_model_config(tmp_path, ContractError)


def test_words_may_hold_every_separator_but_a_line_end(tmp_path: Path) -> None:
    words = "[PAD]\na\u2028\na\x85\na\u00a0\na\x0b\na\x1c\n"
    (tmp_path / "vocab.txt").write_text(words, encoding="utf-8")

    check_tokenizer(tmp_path, ContractError)


@pytest.mark.parametrize("length", ["1e30", "1000000000000000019884624838656", "512", "null"])
def test_published_limits_of_tokenizers(tmp_path: Path, length: str) -> None:
    (tmp_path / "vocab.txt").write_text("a\n")
    (tmp_path / "tokenizer_config.json").write_text(f'{{"model_max_length": {length}}}')

    check_tokenizer(tmp_path, ContractError)


class _Tokenizer:
    """A tokenizer with these ids."""

    def __init__(self, ids: dict[str, int], special: str = "[A]") -> None:
        self.ids, self.all_special_tokens = ids, [special]

    def get_vocab(self) -> dict[str, int]:
        return self.ids

    def convert_tokens_to_ids(self, token: str) -> int:
        return self.ids[token]

    def convert_ids_to_tokens(self, number: int) -> str:
        return next(token for token, found in self.ids.items() if found == number)


@pytest.mark.parametrize(
    ("ids", "problem"),
    [
        ({"[A]": 0, "b": 9}, "the token 'b' with the number 9; the model has 9 embeddings"),
        ({"[A]": -1, "b": 1}, "the token '.A.' with the number -1"),
        ({"b": 0, "[A]": 0}, "gives .A. the number of another token"),
    ],
)
def test_every_token_has_an_embedding_of_its_own(
    tmp_path: Path, ids: dict[str, int], problem: str
) -> None:
    tokenizer: Any = _Tokenizer(ids)
    with pytest.raises(ContractError, match=problem):
        check_special_tokens("a/b", tmp_path, tokenizer, 9, ContractError)


def test_a_panic_is_a_sentence_and_an_interrupt_is_none() -> None:
    panic = type("PanicException", (BaseException,), {})
    with (
        pytest.raises(ContractError, match="tokenizer of a/b cannot be loaded: index"),
        loading("tokenizer", "a/b", ContractError, "Look."),
    ):
        raise panic("index out of bounds")
    with (
        pytest.raises(KeyboardInterrupt),
        loading("tokenizer", "a/b", ContractError, "Look."),
    ):
        raise KeyboardInterrupt


def test_a_first_line_that_says_nothing_is_joined_with_the_next() -> None:
    with (
        pytest.raises(ContractError, match="field 'x': expected int"),
        loading("config", "a/b", ContractError, "Look."),
    ):
        raise ValueError("Validation error for field 'x':\n  expected int")


def test_no_file_is_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pytorch_model.bin")

    with pytest.raises(ContractError, match="no regular file"):
        check_weights(tmp_path, ContractError)
