"""``croissant.json``: a version in the words of MLCommons Croissant 1.1, for tools that read it.

Files are named below the folder that it lies in, with their SHA-256; the JSON-LD context stands in
the file, so that nothing is fetched to read it.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any

import pyarrow as pa

from augment.contract import FileEntry, Manifest, arrow_schema
from augment.contract.manifest import UNKNOWN_LICENSE
from augment.contract.task import SAFE_NAME

_CROISSANT_1_1 = "http://mlcommons.org/croissant/1.1"
_TERMS = (
    "arrayShape", "citeAs", "column", "containedIn", "equivalentProperty", "extract", "field",
    "fileObject", "fileProperty", "fileSet", "format", "includes", "isArray", "isLiveDataset",
    "jsonPath", "key", "md5", "parentField", "path", "recordSet", "references", "regex", "repeated",
    "replace", "samplingRate", "separator", "source", "subField", "transform",
)  # fmt: skip
_CONTEXT: dict[str, Any] = {
    "@language": "en",
    "@vocab": "https://schema.org/",
    "sc": "https://schema.org/",
    "cr": "http://mlcommons.org/croissant/",
    "rai": "http://mlcommons.org/croissant/RAI/",
    "dct": "http://purl.org/dc/terms/",
    "conformsTo": "dct:conformsTo",
    "data": {"@id": "cr:data", "@type": "@json"},
    "dataType": {"@id": "cr:dataType", "@type": "@vocab"},
    "examples": {"@id": "cr:examples", "@type": "@json"},
    "name": {"@container": "@language"},
    "description": {"@container": "@language"},
    **{term: f"cr:{term}" for term in _TERMS},
}
CLASSES = "label-classes"
"""No split can be called so; nor can a column be ``_column-0``."""
_PARQUET = "application/x-parquet"
_TYPES = {
    pa.string(): "sc:Text",
    pa.int64(): "cr:Int64",
    pa.int32(): "cr:Int32",
    pa.float32(): "cr:Float32",
}


def croissant(manifest: Manifest) -> str:
    """The description of a version as JSON-LD."""
    task, stored = manifest.task, [entry.split for entry in manifest.files]
    splits = [name for name in task.splits.names if name in stored]
    classes = [_classes(manifest)] if task.label.kind == "classification" else []
    described = {
        "@context": _CONTEXT,
        "@type": "sc:Dataset",
        "name": task.name,
        "description": f"Rows of the task {task.name} with generated ones, made by "
        f"augment-distill; the id of this version is {manifest.id}.",
        "conformsTo": _CROISSANT_1_1,
        "version": f"{int(manifest.version[1:])}.0.0",
        "datePublished": manifest.created,
        "license": manifest.license or UNKNOWN_LICENSE,
        **({"inLanguage": list(manifest.language)} if manifest.language else {}),
        "distribution": [node for split in splits for node in _files(manifest, split)],
        "recordSet": [*classes, *(_rows(manifest, split) for split in splits)],
    }
    return json.dumps(described, indent=1) + "\n"


def _files(manifest: Manifest, split: str) -> Iterator[dict[str, Any]]:
    """The files of a split; of several, also the set of them, from which rows are read."""
    entries = _entries(manifest, split)
    for entry in entries:
        yield {
            "@type": "cr:FileObject",
            "@id": entry.path,
            "name": entry.path,
            "contentUrl": entry.path,
            "contentSize": f"{entry.bytes} B",
            "encodingFormat": _PARQUET,
            "sha256": entry.sha256,
        }
    if len(entries) > 1:
        yield {
            "@type": "cr:FileSet",
            "@id": f"{split}-files",
            "name": f"{split}-files",
            "includes": f"data/{split}-*-of-{len(entries):05d}.parquet",
            "encodingFormat": _PARQUET,
        }


def _entries(manifest: Manifest, split: str) -> list[FileEntry]:
    return [entry for entry in manifest.files if entry.split == split]


def _rows(manifest: Manifest, split: str) -> dict[str, Any]:
    schema = arrow_schema(
        manifest.task,
        contract=manifest.contract,
        soft_labels=manifest.soft_labels,
        teacher_logits=manifest.teacher_logits,
    )
    entries = _entries(manifest, split)
    if len(entries) == 1:
        place = {"fileObject": {"@id": entries[0].path}}
    else:
        place = {"fileSet": {"@id": f"{split}-files"}}
    fields = [
        _field(f"{split}/{_plain(field.name, number)}", field, place)
        for number, field in enumerate(schema)
    ]
    return {"@type": "cr:RecordSet", "@id": split, "name": split, "field": fields}


def _plain(column: str, number: int) -> str:
    """The column's name where it can be part of an identifier, else its number."""
    return column if re.fullmatch(SAFE_NAME, column) else f"_column-{number}"


def _field(name: str, field: pa.Field, place: dict[str, Any]) -> dict[str, Any]:
    source = {**place, "extract": {"column": field.name}}
    described: dict[str, Any] = {"@type": "cr:Field", "@id": name, "name": name}
    if not pa.types.is_list(field.type):
        return {**described, "dataType": _TYPES[field.type], "source": source}
    described |= {"isArray": True, "arrayShape": "-1"}
    if not pa.types.is_struct(field.type.value_type):
        return {**described, "dataType": _TYPES[field.type.value_type], "source": source}
    parts = [
        {
            "@type": "cr:Field",
            "@id": f"{name}/{part.name}",
            "name": f"{name}/{part.name}",
            "dataType": _TYPES[part.type],
            "source": {**source, "transform": {"jsonPath": part.name}},
        }
        for part in field.type.value_type
    ]
    return {**described, "subField": parts}


def _classes(manifest: Manifest) -> dict[str, Any]:
    """What the numbers in the label's column stand for."""
    fields = [
        {
            "@type": "cr:Field",
            "@id": f"{CLASSES}/{name}",
            "name": f"{CLASSES}/{name}",
            "dataType": kind,
        }
        for name, kind in (("number", "cr:Int64"), ("name", "sc:Text"))
    ]
    names = enumerate(manifest.task.label.names)
    return {
        "@type": "cr:RecordSet",
        "@id": CLASSES,
        "name": CLASSES,
        "field": fields,
        "data": [{f"{CLASSES}/number": number, f"{CLASSES}/name": name} for number, name in names],
    }
