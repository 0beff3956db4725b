"""What makes a process quicker that trains and exports again and again, whatever it tests."""

from __future__ import annotations

import gc
from importlib import import_module

SECONDS = 0.02
"""For which a model is timed; the product takes a hundred times as long."""
LATE = (
    "augment.cli.commands",
    "augment.pipeline",
    "distill.cli.commands",
    "distill.general",
    "distill.reports.task",
    "distill.serving.export",
    "distill.serving.predict",
    "sklearn.feature_extraction.text",
    "sklearn.linear_model",
    "sklearn.multiclass",
    "transformers.models.bert.modeling_bert",
    "transformers.models.bert.tokenization_bert",
)
"""What is imported when it is used first: in each fork again, unless it is there before."""


def be_quick() -> None:
    """One thread, models timed for a moment only, and no search for garbage in what is imported.

    Trainer collects garbage at every end, which takes longer than the training of a tiny model.
    """
    import torch

    from distill.evaluation import cost, end_to_end

    torch.set_num_threads(1)
    cost.MOST_SECONDS = end_to_end.MOST_SECONDS = SECONDS
    gc.collect()
    gc.freeze()


def be_ready_to_fork() -> None:
    """Import whatever forks will use, too."""
    for name in LATE:
        import_module(name)
    be_quick()
