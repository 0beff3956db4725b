"""What can go wrong in a distillation, as sentences to a person.

Fault                            exit 1   (augment.contract)
├── ContractError                exit 3   a version on disk breaks the contract  (ValueError)
├── OutputError                  exit 3   a place cannot be written to           (OSError)
├── RecipeInvalid                exit 2   unknown keys, values out of range      (ValueError)
│   └── MappingInvalid                    student layers cannot be mapped
├── UsageError                   exit 2   options that contradict each other     (ValueError)
│   ├── RunDiffers                        the run directory belongs to another run
│   └── ExtraMissing                      an optional package is not installed   (ImportError)
└── DistillError                 exit 1   anything else that this package refuses to do
    ├── DataInvalid              exit 3   rows that cannot be trained on         (ValueError)
    ├── ModelInvalid             exit 4   a model that cannot take part          (ValueError)
    │   ├── ModelNotFound                 no such folder, or the hub is out of reach
    │   ├── WeakTeacher                   the teacher scores no better than guessing
    │   ├── VocabularyMismatch            teacher and student split text differently
    │   ├── LabelMismatch                 teacher and data disagree about the classes
    │   ├── ShapeMismatch                 heads or widths that the losses cannot match
    │   └── EncoderUnsupported            attention scores are out of reach
    └── TrainingFailed           exit 5   the loss is not a number, a stage broke (RuntimeError)
"""

from __future__ import annotations

from augment.contract import Fault, RecipeInvalid, UsageError

__all__ = [
    "DataInvalid",
    "DistillError",
    "EncoderUnsupported",
    "ExtraMissing",
    "LabelMismatch",
    "MappingInvalid",
    "ModelInvalid",
    "ModelNotFound",
    "RecipeInvalid",
    "RunDiffers",
    "ShapeMismatch",
    "TrainingFailed",
    "UsageError",
    "VocabularyMismatch",
    "WeakTeacher",
]


class DistillError(Fault):
    """Root of this package's errors: ``problem`` says what is wrong, ``hint`` what to do."""


class MappingInvalid(RecipeInvalid):
    """Student layers cannot be assigned to teacher layers as the recipe asks."""


class RunDiffers(UsageError):
    """The run directory was made with another recipe, version, teacher or student."""


class ExtraMissing(UsageError, ImportError):
    """What was asked for needs packages of an extra that is not installed."""


class DataInvalid(DistillError, ValueError):
    """Rows that cannot be trained on or evaluated, or a stored result that was damaged."""

    exit_code = 3


class ModelInvalid(DistillError, ValueError):
    """A model folder or hub name that cannot take part."""

    exit_code = 4


class ModelNotFound(ModelInvalid):
    """No model is where the name points."""


class WeakTeacher(ModelInvalid):
    """The teacher is near what a constant answer scores on validation."""


class VocabularyMismatch(ModelInvalid):
    """Teacher and student do not share one vocabulary."""


class LabelMismatch(ModelInvalid):
    """The label names of a model and of the data differ."""


class ShapeMismatch(ModelInvalid):
    """Sizes of teacher and student that the chosen losses or initialization cannot match."""


class EncoderUnsupported(ModelInvalid):
    """The architecture does not hand its attention to transformers' attention interface."""


class TrainingFailed(DistillError, RuntimeError):
    """A stage stopped before its end for a reason that a rerun would meet again."""

    exit_code = 5
