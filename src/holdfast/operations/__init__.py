"""What whoever runs the database does with it: for all tenants, beside the application's work."""

from holdfast.engines.upkeep import Finding
from holdfast.operations.backup import Backup
from holdfast.operations.backup import verify as verify_backup
from holdfast.operations.facade import Operations
from holdfast.operations.portable import Export, read_export
from holdfast.operations.retention import Pruned, RetentionPolicy, parse_age
from holdfast.operations.rows import RawRow

__all__ = [
    "Backup",
    "Export",
    "Finding",
    "Operations",
    "Pruned",
    "RawRow",
    "RetentionPolicy",
    "parse_age",
    "read_export",
    "verify_backup",
]
