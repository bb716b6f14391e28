"""Audits: lower bounds on epsilon from canaries."""
