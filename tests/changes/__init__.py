"""The log of changes, and those who watch it."""
