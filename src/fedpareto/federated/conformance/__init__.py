"""Conformance checks of components inside the engine: what `fedpareto conform` runs."""
