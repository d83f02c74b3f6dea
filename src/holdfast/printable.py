"""Text of a stranger, made fit to be printed."""

from __future__ import annotations

__all__ = ["printable"]


def printable(text: str) -> str:
    """Escape what is not printable, as `repr` does, so that the result is one line.

    A name or a value from a database or a file may hold sequences that move a terminal's cursor,
    hide text, reverse its direction or begin a line of their own.
    """
    if text.isprintable():
        return text
    return "".join(
        each if each.isprintable() else each.encode("unicode_escape").decode() for each in text
    )
