"""The tiny models and the version of the unit tests, built once for all that is tried on them."""

from __future__ import annotations

from tests.unit.augment.conftest import mlm_dir, vectors_file
from tests.unit.distill.conftest import encoder, exported, recipe, teacher, tokenizer, version

__all__ = [
    "encoder", "exported", "mlm_dir", "recipe", "teacher", "tokenizer", "vectors_file", "version",
]  # fmt: skip
