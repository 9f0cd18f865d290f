"""Schemas of client quotas."""

from __future__ import annotations

from pykafkacore.protocol.schema import Message

DESCRIBE_CLIENT_QUOTAS_REQUEST = Message(
    "DescribeClientQuotasRequest", api_key=48, versions="0-1", flexible="1+", fields="""
    components       []ComponentData
        entity_type  string
        match_type   int8
        match        string           nullable
    strict           bool
""")

DESCRIBE_CLIENT_QUOTAS_RESPONSE = Message(
    "DescribeClientQuotasResponse", api_key=48, versions="0-1", flexible="1+", fields="""
    throttle_time_ms     int32
    error_code           int16
    error_message        string        nullable
    entries              []EntryData   nullable
        entity           []EntityData
            entity_type  string
            entity_name  string        nullable
        values           []ValueData
            key          string
            value        float64
""")

ALTER_CLIENT_QUOTAS_REQUEST = Message("AlterClientQuotasRequest", api_key=49, versions="0-1", flexible="1+", fields="""
    entries              []EntryData
        entity           []EntityData
            entity_type  string
            entity_name  string        nullable
        ops              []OpData
            key          string
            value        float64
            remove       bool
    validate_only        bool
""")

ALTER_CLIENT_QUOTAS_RESPONSE = Message(
    "AlterClientQuotasResponse", api_key=49, versions="0-1", flexible="1+", fields="""
    throttle_time_ms     int32
    entries              []EntryData
        error_code       int16
        error_message    string        nullable
        entity           []EntityData
            entity_type  string
            entity_name  string        nullable
""")
