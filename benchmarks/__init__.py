"""Holdfast and the drivers alone, in one run."""
