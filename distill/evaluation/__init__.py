"""Scores, cost and results of models."""
