"""Small libraries, loaded before the C library: they note, delay or fail system calls."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

from ..programs import need

__all__ = ["Shims"]

_SOURCES = Path(__file__).parent / "shims"


class Shims:
    """Compiled when first asked for."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory

    def environment(self, name: str, **variables: object) -> dict[str, str]:
        """The environment of a child under one shim; ``variables`` are those the shim reads."""
        library = self._directory / f"{name}.so"
        if not library.exists():
            command = [need("cc"), "-O1", "-shared", "-fPIC", "-o", str(library)]
            subprocess.run([*command, str(_SOURCES / f"{name}.c"), "-ldl"], check=True)
        return {
            **os.environ,
            "LD_PRELOAD": str(library),
            **{key: str(value) for key, value in variables.items()},
        }
