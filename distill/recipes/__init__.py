"""The recipe of a distillation, and the shipped ones."""
