"""Topic names, judged without raising."""

from __future__ import annotations

from cluster.metadata.topics import check_topic_name
from pykafkacore.protocol.errors import ApiError


def invalid_topic_name(name: str) -> str | None:
    """What is wrong with a topic name, or None."""
    try:
        check_topic_name(name)
    except ApiError as error:
        return error.message
    return None
