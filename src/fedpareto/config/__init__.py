"""Configuration: YAML files, their schema, and every check that needs no data."""
