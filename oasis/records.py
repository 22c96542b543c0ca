"""Schemas of what a run records step by step. Names are stable: others' scripts read them."""

from __future__ import annotations

import pyarrow as pa

__all__ = ["EVENTS", "IMPRESSIONS", "INTERVIEWS", "LATER", "LLM_CALLS", "STEP_TABLES", "TOKENS"]

_LABEL = pa.dictionary(pa.int16(), pa.string())

EVENTS = pa.schema(
    [
        ("step", pa.int32()),
        ("seq", pa.int32()),  # commit order within the step
        ("agent_id", pa.int32()),
        ("turn", pa.int16()),
        ("policy", _LABEL),
        ("action", _LABEL),
        ("target_kind", _LABEL),
        ("target_id", pa.int32()),
        ("arg_id", pa.int32()),
        ("outcome", _LABEL),
        ("created_id", pa.int32()),
        ("probability", pa.float32()),
        ("content", pa.large_string()),
    ]
)
IMPRESSIONS = pa.schema(
    [
        ("step", pa.int32()),
        ("agent_id", pa.int32()),
        ("turn", pa.int16()),
        ("position", pa.int16()),
        ("post_id", pa.int32()),
        ("comment_id", pa.int32()),
        ("source", _LABEL),
        ("score", pa.float32()),
        ("message_id", pa.int32()),  # of a group, for rows that show no post
    ]
)
LLM_CALLS = pa.schema(
    [
        ("step", pa.int32()),
        ("agent_id", pa.int32()),
        ("turn", pa.int16()),
        ("attempt", pa.int16()),
        ("purpose", _LABEL),  # decide, score, calibrate, interview
        ("endpoint", _LABEL),
        ("model", _LABEL),
        ("tokens_in", pa.int32()),
        ("tokens_cached", pa.int32()),
        ("tokens_out", pa.int32()),
        ("latency_ms", pa.float32()),
        ("status", _LABEL),  # ok, failed (transport), invalid (answer does not fit)
        ("error", pa.large_string()),
        ("cut", pa.int32()),  # characters of shown texts that the prompt leaves out
        ("prompt_hash", pa.uint64()),
        ("prompt", pa.large_string()),
        ("response", pa.large_string()),
        ("options", pa.list_(pa.uint64())),
        ("logprobs", pa.list_(pa.float32())),
        ("reused", pa.bool_()),  # true: given to the parent of a branch, or to another agent that asked the same
    ]
)
TOKENS = {"input": "tokens_in", "cached": "tokens_cached", "output": "tokens_out"}
"""Tokens by the names of manifests and prices: columns of `LLM_CALLS`."""
INTERVIEWS = pa.schema(
    [
        ("step", pa.int32()),
        ("agent_id", pa.int32()),
        ("question_id", pa.large_string()),
        ("question", pa.large_string()),
        ("value", pa.float64()),
        ("text", pa.large_string()),
        ("probabilities", pa.list_(pa.float32())),
        ("policy", _LABEL),
        ("outcome", _LABEL),  # accepted, llm_failed, llm_invalid, no_stance
        ("source", _LABEL),  # llm, model, script
    ]
)
LATER: dict[str, tuple[str, ...]] = {"interviews": ("source",)}
"""Columns, by table, that runs of earlier versions lack and step digests leave out; there they read as null."""
STEP_TABLES: dict[str, pa.Schema] = {
    "events": EVENTS,
    "impressions": IMPRESSIONS,
    "llm_calls": LLM_CALLS,
    "interviews": INTERVIEWS,
}
