"""Stages of a distillation: a batch in, named losses out.

A stage is the module that the trainer trains: the student and, for the intermediate stage, the
projections. The teacher stays outside the module tree, so checkpoints do not hold it, no
optimizer sees it and ``train()`` does not reach it.
"""

from __future__ import annotations

from distill.stages.base import Stage, assert_frozen_eval
from distill.stages.hard_labels import HardLabelStage
from distill.stages.intermediate import IntermediateStage
from distill.stages.prediction import PredictionStage

__all__ = ["HardLabelStage", "IntermediateStage", "PredictionStage", "Stage", "assert_frozen_eval"]
