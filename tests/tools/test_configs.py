"""kafka-configs without a cluster: what entity is meant, which changes are asked for, how a config is shown."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from pykafkacore.tools.common import ToolError
from pykafkacore.tools.configs import DELETE, SET, Entity, config_line, parse, parse_added, title


def options(*more: str):
    return parse(["--bootstrap-server", "h:1", *more])


@pytest.mark.parametrize(
    ("more", "entity"),
    [
        (["--topic", "t"], Entity("topics", "t")),
        (["--entity-type", "topics", "--entity-name", "t"], Entity("topics", "t")),
        (["--entity-type", "topics"], Entity("topics", None)),
        (["--broker", "1"], Entity("brokers", "1")),
        (["--broker-defaults"], Entity("brokers", "")),
        (["--entity-type", "brokers", "--entity-default"], Entity("brokers", "")),
        (["--group", "g"], Entity("groups", "g")),
        (["--client-metrics", "m"], Entity("client-metrics", "m")),
    ],
)
def test_an_entity_is_named_in_long_or_short(more: list[str], entity: Entity) -> None:
    assert options("--describe", *more).entity == entity


@pytest.mark.parametrize(
    ("more", "said"),
    [
        (["--describe"], "At least one entity type must be specified"),
        (["--describe", "--entity-type", "x"], "Invalid entity type x"),
        (["--describe", "--broker", "one"], "must be a valid integer broker id"),
        (["--describe", "--user", "u"], "entity type users is not offered yet"),
        (["--describe", "--ip-defaults"], "entity type ips is not offered yet"),
        (["--alter", "--topic", "t"], "At least one of --add-config"),
        (["--alter", "--entity-type", "topics", "--add-config", "a=b"], "An entity name must be specified"),
        (["--describe", "--topic", "t", "--entity-name", "u"], "--entity-{type,name,default} should not be used"),
        (["--describe", "--alter"], "Command must include exactly one action"),
    ],
)
def test_calls_that_mean_nothing_are_refused(capsys: pytest.CaptureFixture[str], more: list[str], said: str) -> None:
    with pytest.raises(SystemExit) as ended:
        options(*more)
    assert ended.value.code == 1
    assert said in capsys.readouterr().err


def test_brackets_keep_commas_together() -> None:
    assert parse_added("a=b,c=[d,e],f=") == {"a": "b", "c": "d,e", "f": ""}
    with pytest.raises(ToolError, match="Invalid entity config"):
        parse_added("a=b,c")


def test_changes_are_settings_then_deletions() -> None:
    found = options("--alter", "--topic", "t", "--delete-config", "x, y", "--add-config", "a=1")
    assert found.changes == [("a", SET, "1"), ("x", DELETE, None), ("y", DELETE, None)]


def test_a_config_is_shown_with_where_it_comes_from() -> None:
    synonyms = [SimpleNamespace(source=1, name="a", value="1"), SimpleNamespace(source=5, name="log.a", value=None)]
    entry = SimpleNamespace(name="a", value="1", is_sensitive=False, synonyms=synonyms)
    assert config_line(entry) == "  a=1 sensitive=false synonyms={DYNAMIC_TOPIC_CONFIG:a=1, DEFAULT_CONFIG:log.a=null}"
    hidden = SimpleNamespace(name="p", value=None, is_sensitive=True, synonyms=[])
    assert config_line(hidden) == "  p=null sensitive=true synonyms={}"


def test_titles_name_the_entity() -> None:
    assert title(Entity("topics", "t"), "t", False) == "Dynamic configs for topic t are:"
    assert title(Entity("brokers", "1"), "1", True) == "All configs for broker 1 are:"
    assert title(Entity("brokers", ""), "", False) == "Default configs for brokers in the cluster are:"
