"""How examples are dealt to clients."""
