"""An application that keeps its own models: nothing here is derived from a class of Holdfast."""
