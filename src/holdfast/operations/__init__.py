"""What whoever runs the database does with it: for all tenants, beside the application's work."""

from holdfast.operations.facade import Operations

__all__ = ["Operations"]
