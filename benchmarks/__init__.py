"""Scripts that print ratios; their results lie in ``results/``."""

import os

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")  # as both commands do, and before torch
