"""Data: registered sets and the user's own, fetched, checked, prepared into arrays, and dealt to clients."""


class DataError(ValueError):
    """A data set that cannot be had or used; the message is one line that says what to do."""
