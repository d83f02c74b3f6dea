"""What agents spend."""

from __future__ import annotations

from holdfast.storage.retention import Retention
from holdfast.storage.tables import check, column, extra, index, nullable, store_table
from holdfast.storage.types import FLAG, INTEGER, REAL, STRING, Timestamp

__all__ = ["cost_records", "project_cost_aggregates"]

cost_records = store_table(
    "cost_records",
    # A record has no natural key. This one is made when it is saved and grows with time, so that
    # a repeated insert after a lost connection is recognised, and the key order is the save order.
    column("record_id", STRING),
    column("agent_id", STRING),
    column("task_id", STRING),
    column("provider", STRING),
    column("model", STRING),
    nullable("project_id", STRING),
    column("input_tokens", INTEGER),
    column("output_tokens", INTEGER),
    column("cost_usd", REAL),
    column("timestamp", Timestamp()),
    nullable("call_category", STRING),
    nullable("accuracy_effort_ratio", REAL),
    nullable("latency_ms", REAL),
    nullable("cache_hit", FLAG),
    nullable("retry_count", INTEGER),
    nullable("retry_reason", STRING),
    nullable("finish_reason", STRING),
    nullable("success", FLAG),
    extra(),
    index("ix_cost_records_agent_id", "agent_id", "record_id"),
    index("ix_cost_records_task_id", "task_id", "record_id"),
    index("ix_cost_records_timestamp", "timestamp", "record_id"),
    key=("record_id",),
    retention=Retention("timestamp"),
)

project_cost_aggregates = store_table(
    "project_cost_aggregates",
    column("project_id", STRING),
    column("total_cost", REAL),
    column("total_input_tokens", INTEGER),
    column("total_output_tokens", INTEGER),
    column("record_count", INTEGER),
    column("last_updated", Timestamp()),
    # In nanos, what rounding took from `total_cost`, a float: with it, the sum is exact.
    column("cost_remainder", INTEGER, default="0"),
    check("totals", "total_cost >= 0 AND total_input_tokens >= 0 AND total_output_tokens >= 0"),
    key=("project_id",),
)
