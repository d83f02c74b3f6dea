"""The history as the files tell it is the one that Alembic finds by running them."""

from __future__ import annotations

from pathlib import Path

import pytest

from holdfast import MigrationError, create_backend, migrations
from holdfast.migrations import HOLDFAST, Revision, chain
from holdfast.migrations.headers import in_line

from ..extending.things import make

PLAIN = '"""First.\n\nMore."""\nrevision = "1"\ndown_revision = None\n'
NEXT = 'revision: str = "0"\ndown_revision: str | None = "1"\nbranch_labels = depends_on = None\n'


def written(folder: Path, *texts: str) -> list[Path]:
    files = [folder / f"{number}_some.py" for number in range(len(texts))]
    for file, text in zip(files, texts, strict=True):
        file.write_text(text, encoding="utf-8")
    return files


def test_it_is_what_alembic_finds(monkeypatch: pytest.MonkeyPatch) -> None:
    files = sorted(HOLDFAST.folder.glob("*.py"))
    told = in_line(files)
    assert told is not None
    assert len(told) == len(files)
    with monkeypatch.context() as patch:
        patch.setattr(chain, "in_line", lambda files: None)
        chain._read.cache_clear()
        assert list(migrations.history()) == list(told)
    chain._read.cache_clear()


def test_the_order_is_that_of_the_revisions(tmp_path: Path) -> None:
    assert in_line(written(tmp_path, PLAIN, NEXT)) == [
        Revision("0", "1", ""),
        Revision("1", None, "First."),
    ]


@pytest.mark.parametrize(
    "second",
    [
        'revision = "2"\ndown_revision = None',
        'revision = "2"\ndown_revision = "nowhere"',
        'revision = "2"\ndown_revision = "2"',
        'revision = "2"\ndown_revision = ("1",)',
        'revision = "2"\ndown_revision = "1"\ndepends_on = "0"',
        'revision = "2"\ndown_revision = "1"\nbranch_labels = ["b"]',
        'revision = str(2)\ndown_revision = "1"',
        "revision = 2\ndown_revision = '1'",
        'down_revision = "1"',
        "revision = ",
        'revision = "2"\ndown_revision = "1"\0',
        "",
    ],
)
def test_what_is_not_plain_is_left_to_alembic(tmp_path: Path, second: str) -> None:
    assert in_line(written(tmp_path, PLAIN, second)) is None


@pytest.mark.parametrize(
    ("text", "says"),
    [(NEXT.replace('"0"', '"2"'), "multiple heads"), ("1 / 0", "division by zero")],
)
async def test_a_history_that_cannot_be_read(tmp_path: Path, text: str, says: str) -> None:
    extension = make(tmp_path)
    written(extension.chain.folder, PLAIN, NEXT, text)
    backend = create_backend("sqlite:///:memory:", extensions=[extension])
    with pytest.raises(MigrationError, match=f"extension pad: the revisions .*{says}"):
        await backend.connect()
    await backend.disconnect()
