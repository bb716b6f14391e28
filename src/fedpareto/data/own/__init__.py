"""Tables and arrays of the user."""
