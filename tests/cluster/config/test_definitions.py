from __future__ import annotations

from typing import Any

import pytest

from cluster.config import definitions
from cluster.config.definitions import REQUIRED, Definition
from cluster.config.values import default_value
from tests.protocol.oracle import needs_oracle, table

TABLES = {
    "broker_configs": definitions.broker_definitions,
    "topic_configs": definitions.topic_definitions,
    "group_configs": definitions.group_definitions,
}
OTHER_FORMS = {
    "any": "",
    "some": "",
    "not-null": "non-null string",
    "not-empty": "non-empty string",
    "addresses": "non-empty list",
    "voters": "non-empty list",
    "replicas": "[partitionId]:[brokerId],[partitionId]:[brokerId],...",
    "offset-reset": "[latest, earliest, by_duration:PnDTnHnMn.nS]",
    "": None,
}


def as_kafka_says(definition: Definition) -> str | None:
    if definition.bounds:
        low, high, besides = definition.bounds
        return f"[{low},...{',' + high if high else ''}]{' or ' + besides if besides else ''}"
    if definition.choices:
        prefix = "(case insensitive) " if definition.valid.startswith("nocase:") else ""
        return f"{prefix}[{', '.join(definition.choices)}]"
    return OTHER_FORMS[definition.valid]


def row(definition: Definition, with_dynamic: bool) -> dict[str, Any]:
    found: dict[str, Any] = {
        "name": definition.name,
        "type": definition.type.upper(),
        "default": "REQUIRED" if definition.default == REQUIRED else definition.default,
        "importance": definition.importance.upper(),
    }
    if as_kafka_says(definition) is not None:
        found["valid"] = as_kafka_says(definition)
    if with_dynamic:
        found["dynamic"] = definition.is_dynamic
    if definition.is_internal:
        found["internal"] = True
    return found


@needs_oracle
@pytest.mark.parametrize("name", TABLES)
def test_the_table_says_what_a_running_kafka_says(name: str) -> None:
    ours = [
        row(definition, with_dynamic=name == "broker_configs")
        for definition in TABLES[name]().values()
        if not definition.is_unlisted
    ]
    assert sorted(ours, key=lambda one: one["name"]) == sorted(table(name), key=lambda one: one["name"])


@pytest.mark.parametrize("name", TABLES)
def test_every_default_is_valid(name: str) -> None:
    for definition in TABLES[name]().values():
        if definition.default != REQUIRED and definition.valid != "not-empty":
            default_value(definition)


@pytest.mark.parametrize("name", ["topic_configs", "group_configs"])
def test_every_inherited_key_exists_and_has_the_same_type_and_default(name: str) -> None:
    broker = definitions.broker_definitions()
    for definition in TABLES[name]().values():
        if definition.broker_keys and definition.name != "streams.assignor.name":
            assert all(key in broker for key in definition.broker_keys)
            assert broker[definition.broker_keys[0]].type == definition.type
            if len(definition.broker_keys) == 1:
                assert broker[definition.broker_keys[0]].default == definition.default


def test_documentation_is_only_about_keys_that_exist() -> None:
    known = {name for read in TABLES.values() for name in read()}
    assert set(definitions._documentation()) <= known
    assert definitions.broker_definitions()["log.dirs"].documentation


def test_passwords_are_sensitive() -> None:
    assert definitions.broker_definitions()["ssl.key.password"].is_sensitive
    assert not definitions.broker_definitions()["log.dirs"].is_sensitive


def test_keys_of_one_meaning_know_each_other() -> None:
    family = ("log.retention.ms", "log.retention.minutes", "log.retention.hours")
    assert definitions.broker_families()["log.retention.minutes"] == family
    assert "log.segment.bytes" not in definitions.broker_families()
