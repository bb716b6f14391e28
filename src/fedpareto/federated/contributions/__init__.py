"""Contributions: the bounded vectors that each unit adds to the sum of a round."""
