"""Models: loading, shapes, how a student starts, and what its layers give away."""
