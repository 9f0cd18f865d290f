"""Schemas of client telemetry."""

from __future__ import annotations

from pykafkacore.protocol.schema import Message

GET_TELEMETRY_SUBSCRIPTIONS_REQUEST = Message(
    "GetTelemetrySubscriptionsRequest", api_key=71, versions="0", flexible="0+", fields="""
    client_instance_id  uuid
""")

GET_TELEMETRY_SUBSCRIPTIONS_RESPONSE = Message(
    "GetTelemetrySubscriptionsResponse", api_key=71, versions="0", flexible="0+", fields="""
    throttle_time_ms            int32
    error_code                  int16
    client_instance_id          uuid
    subscription_id             int32
    accepted_compression_types  []int8
    push_interval_ms            int32
    telemetry_max_bytes         int32
    delta_temporality           bool
    requested_metrics           []string
""")

PUSH_TELEMETRY_REQUEST = Message("PushTelemetryRequest", api_key=72, versions="0", flexible="0+", fields="""
    client_instance_id  uuid
    subscription_id     int32
    terminating         bool
    compression_type    int8
    metrics             bytes
""")

PUSH_TELEMETRY_RESPONSE = Message("PushTelemetryResponse", api_key=72, versions="0", flexible="0+", fields="""
    throttle_time_ms  int32
    error_code        int16
""")
