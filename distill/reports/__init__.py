"""Runs as one page for people: read from what they left on disk, drawn, written as one file."""
