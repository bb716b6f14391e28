"""Membership inference of records and of clients."""
