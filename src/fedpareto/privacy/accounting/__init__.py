"""Accounting: epsilon of composed releases."""
