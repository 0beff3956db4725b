"""``python -m distill.cli`` is the command ``distill``."""

from distill.cli import main

main()
