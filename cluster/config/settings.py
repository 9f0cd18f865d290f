"""Which value holds: default < static file < cluster-wide dynamic < this broker's dynamic < topic or group.

What it is: immutable views over the layers. Values are parsed once per layer; a topic costs one small dict.
What it is not: storage (the metadata image holds the dynamic layers) and the node's own identity (node.py).
INVARIANT: layers hold text as it was given; only validated text gets into them, so that resolving cannot fail.
KAFKA: coarser synonyms (log.retention.hours) are merged key by key first; among the merged keys the finest wins, and a
description leaves out what stands before the first entry of the key's own name.
Sources: Kafka's documentation of DescribeConfigs; checked against a running 4.4.
"""

from __future__ import annotations

from enum import IntEnum
from typing import TYPE_CHECKING, Any

from msgspec import Struct

from cluster.config.definitions import (
    MILLISECONDS_PER,
    REQUIRED,
    Definition,
    broker_definitions,
    broker_families,
    client_metrics_definitions,
    group_definitions,
    topic_definitions,
)
from cluster.config.properties import parse_properties
from cluster.config.values import ConfigError, Value, default_value, parse, to_text

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

# Keys of one listener, and settings that are handed on to plug-ins as they are.
_PREFIXES = ("listener.name.", "rsm.config.", "rlmm.config.")
_INTERNAL_LISTENER_KEYS = ("max.connections", "max.connection.creation.rate", "num.network.threads")


class Source(IntEnum):
    """Where a value comes from, as DescribeConfigs numbers it."""

    TOPIC = 1
    DYNAMIC_BROKER = 2
    DYNAMIC_DEFAULT_BROKER = 3
    STATIC_BROKER = 4
    DEFAULT = 5
    DYNAMIC_BROKER_LOGGER = 6
    CLIENT_METRICS = 7
    GROUP = 8


class Synonym(Struct, frozen=True):
    """One layer's say about a value; sensitive values are None."""

    name: str
    value: str | None
    source: Source


class Described(Struct, frozen=True):
    """One key as DescribeConfigs answers it."""

    name: str
    value: str | None
    source: Source
    is_read_only: bool
    is_sensitive: bool
    type_number: int
    documentation: str
    synonyms: tuple[Synonym, ...]


class BrokerSettings:
    """The settings of one broker. Immutable: a change of a dynamic layer makes a new one."""

    __slots__ = ("_static", "_topic_defaults", "_values", "broker_dynamic", "cluster_dynamic", "static")

    def __init__(
        self,
        static: Mapping[str, str],
        cluster_dynamic: Mapping[str, str] | None = None,
        broker_dynamic: Mapping[str, str] | None = None,
    ) -> None:
        self.static = static
        self.cluster_dynamic = cluster_dynamic or {}
        self.broker_dynamic = broker_dynamic or {}
        self._values: dict[str, Value] = {}
        self._topic_defaults: dict[str, Value] | None = None

    def with_dynamic(self, cluster_dynamic: Mapping[str, str], broker_dynamic: Mapping[str, str]) -> BrokerSettings:
        return BrokerSettings(self.static, cluster_dynamic, broker_dynamic)

    def text(self, name: str) -> str | None:
        """The text that holds; the default's when no layer speaks, None for null."""
        for layer in (self.broker_dynamic, self.cluster_dynamic, self.static):
            if name in layer:
                return layer[name]
        definition = broker_definitions().get(name)
        return None if definition is None or definition.default == REQUIRED else definition.default

    def __getitem__(self, name: str) -> Any:
        """The parsed value of a broker key; KeyError for a key that does not exist."""
        if name not in self._values:
            definition = broker_definitions()[name]
            text = self.text(name)
            self._values[name] = default_value(definition) if text is None else parse(definition, text)
        return self._values[name]

    def is_set(self, name: str) -> bool:
        """Whether any layer above the defaults speaks."""
        return name in self.static or name in self.cluster_dynamic or name in self.broker_dynamic

    def topic_defaults(self) -> dict[str, Value]:
        """What a topic without configs of its own gets, by topic key."""
        if self._topic_defaults is None:
            self._topic_defaults = {
                name: self.inherited(definition) for name, definition in topic_definitions().items()
            }
        return self._topic_defaults

    def inherited(self, definition: Definition) -> Value:
        """What a topic or group key is worth when the topic or group says nothing itself."""
        for key in definition.broker_keys:
            value: Value = self[key]
            if isinstance(value, list) and definition.type == "string":
                return str(value[0])  # streams.assignor.name is the first of the broker's assignors
            if value is not None:
                factor = MILLISECONDS_PER.get(key.rpartition(".")[2])
                if factor is None or not isinstance(value, int):
                    return value
                return value * factor if value >= 0 else -1
        return default_value(definition)

    def synonyms(self, name: str) -> tuple[Synonym, ...]:
        """What every layer says about a broker key, the one that holds first."""
        definition = broker_definitions().get(name)
        hide = definition is None or definition.is_sensitive
        family = broker_families().get(name, (name,))
        found = [
            Synonym(key, None if hide else layer[key], source)
            for layer, source in (
                (self.broker_dynamic, Source.DYNAMIC_BROKER),
                (self.cluster_dynamic, Source.DYNAMIC_DEFAULT_BROKER),
                (self.static, Source.STATIC_BROKER),
            )
            for key in family
            if key in layer
        ]
        for key in family:
            default = broker_definitions()[key].default if key in broker_definitions() else None
            if default is not None and default != REQUIRED:
                found.append(Synonym(key, None if hide else default, Source.DEFAULT))
        first = next((position for position, synonym in enumerate(found) if synonym.name == name), len(found))
        return tuple(found[first:])

    def describe(self, names: Iterable[str] | None = None, with_synonyms: bool = False) -> list[Described]:
        """The keys of this broker. All but internal ones when `names` is None; names that do not exist are left out."""
        if names is None:
            set_here = {**self.static, **self.cluster_dynamic, **self.broker_dynamic}
            names = [
                name
                for name, definition in broker_definitions().items()
                if name in set_here or not (definition.is_internal or definition.is_unlisted)
            ]
            names += [name for name in set_here if name not in broker_definitions()]
        return [self._describe(name, with_synonyms) for name in names if self._exists(name)]

    def _exists(self, name: str) -> bool:
        return name in broker_definitions() or self.is_set(name)

    def _describe(self, name: str, with_synonyms: bool) -> Described:
        definition = broker_definitions().get(name)
        synonyms = self.synonyms(name)
        # KAFKA: the value of a key that nobody knows is hidden, for it may be a secret of a plug-in.
        is_sensitive = definition is None or definition.is_sensitive
        return Described(
            name=name,
            value=None if is_sensitive or self.text(name) is None else to_text(self[name]),
            source=synonyms[0].source if synonyms else Source.DEFAULT,
            is_read_only=not is_dynamic(name),
            is_sensitive=is_sensitive,
            type_number=definition.type_number if definition else 0,
            documentation=definition.documentation if definition else "",
            synonyms=synonyms if with_synonyms else (),
        )

    def describe_cluster_default(
        self, names: Iterable[str] | None = None, with_synonyms: bool = False
    ) -> list[Described]:
        """The cluster-wide dynamic layer alone: the resource of type broker with an empty name."""
        wanted = self.cluster_dynamic if names is None else [name for name in names if name in self.cluster_dynamic]
        found = []
        for name in wanted:
            definition = broker_definitions().get(name)
            hide = definition is None or definition.is_sensitive
            value = None if hide else self.cluster_dynamic[name]
            found.append(
                Described(
                    name=name,
                    value=value,
                    source=Source.DYNAMIC_DEFAULT_BROKER,
                    is_read_only=not is_dynamic(name),
                    is_sensitive=hide,
                    type_number=definition.type_number if definition else 0,
                    documentation=definition.documentation if definition else "",
                    synonyms=(Synonym(name, value, Source.DYNAMIC_DEFAULT_BROKER),) if with_synonyms else (),
                )
            )
        return found


# ---- topics, groups, client metrics


def topic_settings(broker: BrokerSettings, overrides: Mapping[str, str]) -> dict[str, Value]:
    """Every topic key with the value that holds."""
    if not overrides:
        return broker.topic_defaults()
    definitions = topic_definitions()
    own = {name: parse(definitions[name], text) for name, text in overrides.items() if name in definitions}
    return {**broker.topic_defaults(), **own}


def group_settings(broker: BrokerSettings, overrides: Mapping[str, str]) -> dict[str, Value]:
    """Every group key with the value that holds."""
    return {
        name: parse(definition, overrides[name]) if name in overrides else broker.inherited(definition)
        for name, definition in group_definitions().items()
    }


def describe_topic(
    broker: BrokerSettings,
    overrides: Mapping[str, str],
    names: Iterable[str] | None = None,
    with_synonyms: bool = False,
) -> list[Described]:
    """The keys of a topic. All but internal ones when `names` is None; names that do not exist are left out."""
    return _describe_resource(
        broker, topic_definitions(), topic_settings(broker, overrides), overrides, Source.TOPIC, names, with_synonyms
    )


def describe_group(
    broker: BrokerSettings,
    overrides: Mapping[str, str],
    names: Iterable[str] | None = None,
    with_synonyms: bool = False,
) -> list[Described]:
    """The keys of a group."""
    return _describe_resource(
        broker, group_definitions(), group_settings(broker, overrides), overrides, Source.GROUP, names, with_synonyms
    )


def _describe_resource(
    broker: BrokerSettings,
    definitions: dict[str, Definition],
    values: dict[str, Value],
    overrides: Mapping[str, str],
    own_source: Source,
    names: Iterable[str] | None,
    with_synonyms: bool,
) -> list[Described]:
    found = []
    for name in definitions if names is None else names:
        definition = definitions.get(name)
        if definition is None or (names is None and definition.is_internal and name not in overrides):
            continue
        text = to_text(values[name])
        synonyms = broker.synonyms(definition.broker_keys[0]) if definition.broker_keys else ()
        if own_source is Source.GROUP and not synonyms:
            # KAFKA: groups name themselves as the source of such a default, topics name nothing.
            synonyms = (Synonym(name, to_text(default_value(definition)), Source.DEFAULT),)
        if name in overrides:
            synonyms = (Synonym(name, text, own_source), *synonyms)
        found.append(
            Described(
                name=name,
                value=text,
                source=synonyms[0].source if synonyms else Source.DEFAULT,
                is_read_only=False,
                is_sensitive=definition.is_sensitive,
                type_number=definition.type_number,
                documentation=definition.documentation,
                synonyms=synonyms if with_synonyms else (),
            )
        )
    return found


# ---- validation of changes


class NotDynamicError(ConfigError):
    """A key that cannot be changed while running, or not in this way."""


def is_dynamic(name: str) -> bool:
    """Whether a broker key can be changed while running; keys of one listener follow the key behind their prefix."""
    definition = broker_definitions().get(_without_listener(name))
    return definition is not None and definition.is_dynamic


def validate_topic(configs: Mapping[str, str], inherited: Mapping[str, Value] | None = None) -> None:
    """Raise ConfigError unless these overrides can stand on a topic. `inherited` are the broker's topic_defaults."""
    definitions = topic_definitions()
    values: dict[str, Any] = dict(inherited) if inherited is not None else {}
    for name, text in configs.items():
        values[name] = parse(_known(definitions, name, text, "topic"), text)

    def holds(name: str) -> Any:
        return values[name] if name in values else default_value(definitions[name])

    if configs and holds("min.compaction.lag.ms") > holds("max.compaction.lag.ms"):
        raise ConfigError(
            "min.compaction.lag.ms",
            str(holds("min.compaction.lag.ms")),
            f"is more than max.compaction.lag.ms, which is {holds('max.compaction.lag.ms')}",
        )
    if configs.get("remote.storage.enable") is not None and holds("remote.storage.enable"):
        raise ConfigError("remote.storage.enable", "true", "needs tiered storage, which this cluster does not have")


def validate_group(configs: Mapping[str, str], broker: BrokerSettings | None = None) -> None:
    """Raise ConfigError unless these overrides can stand on a group, within the limits that the broker sets."""
    definitions = group_definitions()
    values: dict[str, Any] = {
        name: parse(_known(definitions, name, text, "group"), text) for name, text in configs.items()
    }
    if broker is None:
        return
    for name, value in values.items():
        _check_group_limits(name, value, broker)
    for kind in ("consumer", "share", "streams"):
        keys = (f"{kind}.heartbeat.interval.ms", f"{kind}.session.timeout.ms")
        if any(key in values for key in keys):
            heartbeat, session = (values.get(key, broker[f"group.{key}"]) for key in keys)
            if heartbeat >= session:
                raise ConfigError(keys[0], str(heartbeat), f"is not less than {keys[1]}, which is {session}")


def _check_group_limits(name: str, value: Any, broker: BrokerSettings) -> None:
    """Hold a group's value against the broker's group.*.min.* and group.*.max.* of the same meaning."""
    kind, _, rest = name.partition(".")
    rest = rest.removeprefix("num.")
    most, least = f"group.{kind}.max.{rest}", f"group.{kind}.min.{rest}"
    if most in broker_definitions() and value > broker[most]:
        raise ConfigError(name, to_text(value), f"is against {most}: at most {broker[most]} is allowed")
    if least in broker_definitions() and value < broker[least]:
        raise ConfigError(name, to_text(value), f"is against {least}: at least {broker[least]} is allowed")


def validate_client_metrics(configs: Mapping[str, str]) -> None:
    """Raise ConfigError unless these can stand on a client metrics subscription."""
    definitions = client_metrics_definitions()
    for name, text in configs.items():
        parse(_known(definitions, name, text, "client metrics"), text)


def validate_dynamic_broker(configs: Mapping[str, str], per_broker: bool) -> None:
    """Raise ConfigError unless these can be changed while running, for one broker or for all.

    Clients expect INVALID_REQUEST for what cannot be changed so, INVALID_CONFIG for a value that is wrong.
    KAFKA: a key that does not exist is accepted, for it may belong to a plug-in.
    """
    for name, text in configs.items():
        bare = _without_listener(name)
        definition = broker_definitions().get(bare)
        if definition is None:
            continue
        if not definition.is_dynamic:
            raise NotDynamicError(
                name, text, "cannot be changed while the broker runs: put it into the file and restart"
            )
        listener_wide = name != bare and bare not in _INTERNAL_LISTENER_KEYS
        if not per_broker and (definition.is_per_broker or listener_wide):
            raise NotDynamicError(name, text, "can be changed for one broker at a time only, not for the whole cluster")
        parse(definition, text)


def _known(definitions: dict[str, Definition], name: str, text: str, kind: str) -> Definition:
    definition = definitions.get(name)
    if definition is None:
        raise ConfigError(name, text, f"has no meaning: there is no such {kind} key{_suggestion(name, definitions)}")
    return definition


def _without_listener(name: str) -> str:
    return name.split(".", 3)[3] if name.startswith("listener.name.") and name.count(".") >= 3 else name


def _suggestion(name: str, known: Iterable[str]) -> str:
    from difflib import get_close_matches  # not on the way of a start that goes well

    close = get_close_matches(name, known, n=1)
    return f"; did you mean {close[0]}?" if close else ""


# ---- the static file


def load_static(text: str, overrides: Mapping[str, str] | None = None) -> tuple[BrokerSettings, list[str]]:
    """Settings of a server.properties and what to warn about. All wrong keys are reported, not only the first.

    `overrides` come from the command line and win over the file.
    """
    entries = parse_properties(text)
    static = {name: entry.value for name, entry in entries.items()}
    lines = {name: entry.line for name, entry in entries.items()}
    for name, value in (overrides or {}).items():
        static[name] = value
        lines.pop(name, None)
    warnings: list[str] = []
    problems: list[ConfigError] = []
    for name, value in static.items():
        definition = broker_definitions().get(_without_listener(name))
        if definition is not None:
            try:
                parse(definition, value)
            except ConfigError as error:
                problems.append(ConfigError(name, error.value, error.problem, lines.get(name)))
        elif not name.startswith(_PREFIXES):
            where = f"line {lines[name]}: " if name in lines else ""
            warnings.append(f"{where}key {name} is unknown and has no effect{_suggestion(name, broker_definitions())}")
    if not problems:
        if "node.id" in static:
            static.setdefault("broker.id", static["node.id"])  # KAFKA: shown as if it stood in the file
        settings = BrokerSettings(static)
        problems = broker_conflicts(settings)
        if not problems:
            return settings, warnings
    if len(problems) == 1:
        raise problems[0]
    raise ConfigErrors(problems)


class ConfigErrors(ConfigError):
    """Several keys that cannot stand."""

    def __init__(self, problems: list[ConfigError]) -> None:
        self.problems = problems
        super().__init__(problems[0].key, problems[0].value, problems[0].problem, problems[0].line)

    @property
    def message(self) -> str:
        return "\n".join(problem.message for problem in self.problems)


# (key, must not be more than this key)
_ORDERED = (
    ("replica.fetch.wait.max.ms", "replica.socket.timeout.ms"),
    ("replica.fetch.wait.max.ms", "replica.lag.time.max.ms"),
    ("group.min.session.timeout.ms", "group.max.session.timeout.ms"),
    *(
        pair
        for kind in ("consumer", "share", "streams")
        for what in ("session.timeout.ms", "heartbeat.interval.ms")
        for pair in (
            (f"group.{kind}.min.{what}", f"group.{kind}.{what}"),
            (f"group.{kind}.{what}", f"group.{kind}.max.{what}"),
        )
    ),
    ("log.cleaner.min.compaction.lag.ms", "log.cleaner.max.compaction.lag.ms"),
)


def broker_conflicts(settings: BrokerSettings) -> list[ConfigError]:
    """Keys whose values do not go together."""
    problems = []
    for key, bound in _ORDERED:
        if settings[key] > settings[bound]:
            problems.append(
                ConfigError(key, to_text(settings[key]), f"is more than {bound}, which is {settings[bound]}")
            )
    for kind in ("consumer", "share", "streams"):
        heartbeat, session = f"group.{kind}.heartbeat.interval.ms", f"group.{kind}.session.timeout.ms"
        if settings[heartbeat] >= settings[session]:
            problem = f"is not less than {session}, which is {settings[session]}"
            problems.append(ConfigError(heartbeat, to_text(settings[heartbeat]), problem))
    queued, largest = settings["queued.max.request.bytes"], settings["socket.request.max.bytes"]
    if 0 < queued < largest:
        problem = f"is less than socket.request.max.bytes, which is {largest}: one request would never fit"
        problems.append(ConfigError("queued.max.request.bytes", str(queued), problem))
    return problems
