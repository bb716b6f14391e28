"""Tasks: loss, predictions, metrics and strata."""
