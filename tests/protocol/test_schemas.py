"""Our schema tables against Apache Kafka's own definitions, field by field."""

from __future__ import annotations

from typing import Any

import pytest

from pykafkacore.protocol.notation import PRIMITIVES, FieldSpec, StructSpec, Versions, parse_versions
from tests.protocol.messages import all_messages
from tests.protocol.oracle import definitions, needs_oracle, snake_case

pytestmark = needs_oracle
CURRENT = sorted(name for name, definition in definitions().items() if definition["validVersions"] != "none")


def both(one: Versions, other: Versions) -> Versions | None:
    low, high = max(one[0], other[0]), min(one[1], other[1])
    return (low, high) if low <= high else None


def kafka_fields(definition: dict[str, Any]) -> list[tuple[Any, ...]]:
    """Depth first: (path, type, versions, nullable versions, tag, default, ignorable, plain)."""
    shared = {struct["name"]: struct["fields"] for struct in definition.get("commonStructs", [])}
    rows: list[tuple[Any, ...]] = []

    def walk(fields: list[dict[str, Any]], path: str, outer: Versions) -> None:
        for field in fields:
            versions = both(parse_versions(field.get("versions", field.get("taggedVersions"))), outer)
            if versions is None:
                continue
            nullable = (
                both(parse_versions(field["nullableVersions"]), versions) if "nullableVersions" in field else None
            )
            inner = f"{path}/{snake_case(field['name'])}"
            rows.append(
                (
                    inner,
                    field["type"],
                    versions,
                    nullable,
                    field.get("tag"),
                    kafka_default(field),
                    field.get("ignorable", False),
                    field.get("flexibleVersions") == "none",
                )
            )
            base = field["type"].removeprefix("[]")
            if base not in PRIMITIVES:
                walk(field.get("fields") or shared[base], inner, versions)

    walk(definition["fields"], "", parse_versions(definition["validVersions"]))
    return rows


def kafka_default(field: dict[str, Any]) -> Any:
    # KAFKA: a null without quotes is no default; "null" in quotes is one.
    kind, text = field["type"], field.get("default") or ""
    if text == "null":
        return None
    if kind.startswith("[]") or kind not in PRIMITIVES:
        return "fresh"
    if kind == "bool":
        return str(text).lower() == "true"
    if kind == "float64":
        return float(text or 0)
    if kind in ("string", "bytes", "uuid", "records"):
        return {"string": "" if text == "''" else text, "bytes": b"", "uuid": bytes(16), "records": None}[kind]
    return int(str(text) or "0", 0)


def our_fields(root: StructSpec, valid: Versions) -> list[tuple[Any, ...]]:
    rows: list[tuple[Any, ...]] = []

    def walk(fields: list[FieldSpec], path: str, outer: Versions) -> None:
        for field in fields:
            versions = both(field.versions, outer)
            if versions is None:
                continue
            nullable = both(field.nullable, versions) if field.nullable else None
            inner = f"{path}/{field.name}"
            kind = ("[]" if field.is_array else "") + field.type
            rows.append((inner, kind, versions, nullable, field.tag, field.default, field.ignorable, field.plain))
            if field.struct is not None:
                walk(field.struct.fields, inner, versions)

    walk(root.fields, "", valid)
    return rows


@pytest.mark.parametrize("name", CURRENT)
def test_a_schema_says_what_kafka_says(name: str) -> None:
    definition, message = definitions()[name], all_messages()[name]
    flexible = definition.get("flexibleVersions", "none")
    assert message.versions == parse_versions(definition["validVersions"])
    assert message.api_key == definition.get("apiKey")
    if flexible == "none":
        assert not message.is_flexible(message.versions[1])
    else:
        assert message.flexible_from == parse_versions(flexible)[0]
    assert our_fields(message.root, message.versions) == kafka_fields(definition)


def test_there_is_no_message_that_kafka_does_not_have() -> None:
    assert sorted(all_messages()) == CURRENT
