"""Results as typed records in the program, and as JSON where they are stored or printed."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, TypeVar

from pydantic import BaseModel, ConfigDict, TypeAdapter, ValidationError

from distill.errors import DataInvalid

T = TypeVar("T")


class Record(BaseModel):
    """A frozen record; its fields are the keys of its JSON, base classes first."""

    model_config = ConfigDict(frozen=True, extra="forbid", ser_json_inf_nan="constants")

    def to_json(self) -> dict[str, Any]:
        """JSON values; a field that nobody set has no key."""
        return self.model_dump(mode="json", exclude_unset=True)


def read_json(file: Path, kind: type[T]) -> T:
    """Read what an earlier call stored, and check it.

    Args:
        file: A JSON file.
        kind: Such as a class of records.

    Raises:
        DataInvalid: It holds something else.
    """
    try:
        return TypeAdapter(kind).validate_python(json.loads(file.read_text(encoding="utf-8")))
    except ValueError as error:
        reason = str(error)
        if isinstance(error, ValidationError):
            first = error.errors()[0]
            reason = f"{'.'.join(map(str, first['loc']))}: {first['msg']}"
        raise DataInvalid(
            f"{file} is not as it was written ({reason}).",
            "Put it back, or remove it and repeat the command.",
        ) from error
