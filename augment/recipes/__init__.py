"""The recipe: every number and choice that decides the rows, and the shipped ones."""
