"""How long a text a model can read."""

from __future__ import annotations

from typing import Any

from distill.errors import ModelInvalid

COUNT_FROM_PADDING = ("roberta", "xlm-roberta", "camembert", "mpnet", "data2vec-text", "ibert")


def check_length(max_length: int, name: str, config: Any) -> None:
    """Refuse texts longer than a model's position table.

    Raises:
        ModelInvalid: ``max_length`` exceeds it.
    """
    most = most_pieces(config)
    if most is not None and max_length > most:
        raise ModelInvalid(
            f"max_length is {max_length} pieces, {name} reads at most {most}.",
            f"Set max_length = {most} in the recipe.",
        )


def most_pieces(config: Any) -> int | None:
    """Pieces that a model can read at once; nothing where it has no position table."""
    reserved = config.pad_token_id + 1 if config.model_type in COUNT_FROM_PADDING else 0
    positions = getattr(config, "max_position_embeddings", None)
    return None if positions is None else int(positions) - reserved
