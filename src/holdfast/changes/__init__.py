"""Changes as they happen: what is recorded, and who reads it."""

from holdfast.changes.pruning import prune as prune
from holdfast.changes.switch import record as record
from holdfast.changes.switch import recorded_tables as recorded_tables
from holdfast.changes.switch import stop_recording as stop_recording
from holdfast.changes.switch import tables_of as tables_of
from holdfast.changes.watch import Change as Change
from holdfast.changes.watch import ChangeKind as ChangeKind
from holdfast.changes.watch import Watch as Watch
from holdfast.changes.watch import watch as watch

__all__ = [
    "Change",
    "ChangeKind",
    "Watch",
    "prune",
    "record",
    "recorded_tables",
    "stop_recording",
    "tables_of",
    "watch",
]
