"""Components: classes that a user can add in one file, found by name, by path or by entry point."""
