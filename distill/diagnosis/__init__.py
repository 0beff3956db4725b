"""What a run needs, before it begins: checks, a few timed steps, a forecast."""
