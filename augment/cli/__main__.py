"""``python -m augment.cli`` is the command ``augment``."""

from augment.cli import main

main()
