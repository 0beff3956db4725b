"""Training one stage: context, trainer, callbacks, checkpoints, soft labels."""
