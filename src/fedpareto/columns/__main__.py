"""Prints the documentation page of all tables: `python -m fedpareto.columns > docs/tables.md`."""

from fedpareto.columns.page import page

print(page(), end="")
