"""Which rows of a version a stage draws, and how often: the key ``data`` of its section."""

from __future__ import annotations

import math
from typing import Annotated, Any, Literal, Self, get_args

from pydantic import BaseModel, BeforeValidator, ConfigDict, model_validator

from augment.contract import Version

Part = Literal["original", "augmented", "unlabeled"]
"""``original``: the source's training rows; ``augmented``: those made from them; ``unlabeled``."""
PARTS: tuple[Part, ...] = get_args(Part)
Named = Literal["original", "augmented", "unlabeled", "all"]
_PARTS_OF: dict[str, tuple[Part, ...]] = {
    "original": ("original",),
    "augmented": ("original", "augmented"),  # the augmented training set: both
    "unlabeled": ("unlabeled",),
    "all": PARTS,
}


class Shares(BaseModel):
    """How much of an epoch each part gets: numbers of at least 0 that count by their ratio."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False)

    original: float = 0.0
    augmented: float = 0.0
    unlabeled: float = 0.0

    @model_validator(mode="after")
    def _something_is_drawn(self) -> Self:
        if not self.parts:
            raise ValueError("every share is 0: no row would be drawn")
        return self

    def __str__(self) -> str:
        """Such as ``mixed (original 1, unlabeled 2)``."""
        return f"mixed ({', '.join(f'{part} {getattr(self, part):g}' for part in self.parts)})"

    @property
    def parts(self) -> tuple[Part, ...]:
        """The parts that have a share."""
        return tuple(part for part in PARTS if getattr(self, part) > 0)


def _data(value: Any) -> Any:
    if isinstance(value, Shares) or (isinstance(value, str) and value in _PARTS_OF):
        return value
    if not isinstance(value, dict):
        raise ValueError(
            'must be "original", "augmented", "unlabeled", "all" or a table of shares such as '
            f"{{ original = 1, unlabeled = 2 }}, found {value!r}"
        )
    for part, share in value.items():
        if part not in PARTS:
            raise ValueError(f"there is no part {part!r}; parts are {', '.join(PARTS)}")
        if type(share) not in (int, float) or not math.isfinite(share) or share < 0:
            raise ValueError(
                f"the share of {part} must be a finite number of at least 0, found {share!r}"
            )
    if not any(value.values()):
        raise ValueError("every share is 0: no row would be drawn")
    return Shares(**value)


def _labeled(value: Any) -> Any:
    data = _data(value)
    if data == "unlabeled" or (isinstance(data, Shares) and data.unlabeled):
        raise ValueError(
            "unlabeled rows have no label to learn from here: take "
            '"original", "augmented" or shares of these two'
        )
    return labeled_only(data)


Data = Annotated[Named | Shares, BeforeValidator(_data)]
LabeledData = Annotated[Named | Shares, BeforeValidator(_labeled)]


def parts_of(data: Named | Shares) -> tuple[Part, ...]:
    """The parts that are drawn from, in the order in which their rows are numbered."""
    return data.parts if isinstance(data, Shares) else _PARTS_OF[data]


def labeled_only(data: Named | Shares) -> Named | Shares | None:
    """The same without unlabeled rows; None where nothing is left."""
    if isinstance(data, Shares):
        left = {part: getattr(data, part) for part in ("original", "augmented")}
        return Shares(**left) if any(left.values()) else None
    if data == "unlabeled":
        return None
    return "augmented" if data == "all" else data


def unlabeled_split(version: Version) -> str | None:
    """The split of rows without labels, where it has rows."""
    split = version.task.splits.unlabeled
    return split if split in version.splits and version.rows(split) else None


def count_parts(version: Version) -> dict[Part, int]:
    """Rows of each part, as the manifest counts them."""
    split = version.task.splits.train
    original = sum(source.rows for source in version.manifest.sources if source.split == split)
    unlabeled = unlabeled_split(version)
    return {
        "original": original,
        "augmented": version.rows(split) - original,
        "unlabeled": version.rows(unlabeled) if unlabeled else 0,
    }
