"""From tables to figures. Nothing here knows of JAX or trains anything."""
