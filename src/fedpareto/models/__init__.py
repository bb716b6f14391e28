"""Models, in flax."""
