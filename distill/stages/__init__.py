"""The stages of a distillation: a batch in, named losses out.

A stage is the module that the trainer trains: the student and, for the intermediate stage, the
projections. The teacher stays outside the module tree, so checkpoints do not hold it, no
optimizer sees it and ``train()`` does not reach it.
"""

from __future__ import annotations

from distill.stages.base import Stage, assert_frozen_eval
from distill.stages.hard_labels import HardLabels
from distill.stages.intermediate import Intermediate
from distill.stages.prediction import Prediction

__all__ = ["HardLabels", "Intermediate", "Prediction", "Stage", "assert_frozen_eval"]
