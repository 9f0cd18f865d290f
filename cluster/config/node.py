"""Who this node is and where it listens: roles, listeners, quorum and directories, read and checked together.

What it is: frozen facts for the rest of the program, and Kafka's rules on how these keys go together.
What it is not: sockets. Port 0 stays 0 here; whoever binds knows the real one.
Only PLAINTEXT listeners are served so far; any other security protocol is refused here, by name.
Sources: KIP-103, KIP-291, KIP-500, KIP-631, KIP-853 and the behaviour of Kafka 4.4.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from msgspec import Struct

from cluster.config.values import ConfigError, parse_address

if TYPE_CHECKING:
    from cluster.config.settings import BrokerSettings

SECURITY_PROTOCOLS = {"PLAINTEXT": 0, "SSL": 1, "SASL_PLAINTEXT": 2, "SASL_SSL": 3}
SUPPORTED_PROTOCOLS = ("PLAINTEXT",)


class Listener(Struct, frozen=True):
    """A named endpoint. An empty host means all interfaces."""

    name: str
    host: str
    port: int
    security_protocol: str = "PLAINTEXT"


class VoterAddress(Struct, frozen=True):
    """An entry of controller.quorum.voters."""

    node_id: int
    host: str
    port: int


class NodeSettings(Struct, frozen=True):
    """Everything about this node that holds for the life of the process."""

    node_id: int
    is_broker: bool
    is_controller: bool
    listeners: tuple[Listener, ...]
    advertised_listeners: tuple[Listener, ...]
    controller_listener_names: tuple[str, ...]
    controller_listener_protocols: tuple[str, ...]
    inter_broker_listener_name: str
    quorum_voters: tuple[VoterAddress, ...]
    quorum_bootstrap_servers: tuple[tuple[str, int], ...]
    log_dirs: tuple[str, ...]
    metadata_log_dir: str
    rack: str | None

    @property
    def broker_listeners(self) -> tuple[Listener, ...]:
        return tuple(one for one in self.listeners if one.name not in self.controller_listener_names)

    @property
    def controller_listeners(self) -> tuple[Listener, ...]:
        return tuple(one for one in self.listeners if one.name in self.controller_listener_names)

    @property
    def advertised_broker_listeners(self) -> tuple[Listener, ...]:
        return tuple(one for one in self.advertised_listeners if one.name not in self.controller_listener_names)

    @property
    def advertised_controller_listeners(self) -> tuple[Listener, ...]:
        return tuple(one for one in self.advertised_listeners if one.name in self.controller_listener_names)


def read_node(settings: BrokerSettings, host_name: str = "localhost") -> NodeSettings:
    """The node that these settings describe, or ConfigError. `host_name` is advertised for listeners without a host."""
    roles = settings["process.roles"]
    node_id = settings["node.id"]
    is_broker, is_controller = "broker" in roles, "controller" in roles
    if settings["broker.id"] not in (-1, node_id):
        raise ConfigError("broker.id", str(settings["broker.id"]), f"differs from node.id, which is {node_id}: drop it")
    controller_names = tuple(name.upper() for name in settings["controller.listener.names"])
    protocols = _protocol_map(settings, controller_names)
    listeners = _parse_listeners(settings, "listeners", protocols)
    _check_unique(settings, listeners)
    advertised = _advertised(settings, listeners, controller_names, protocols, host_name)
    voters = _voters(settings)
    _check_roles(settings, is_broker, is_controller, listeners, controller_names)
    _check_quorum(settings, node_id, is_broker, is_controller, voters)
    inter_broker = _inter_broker_name(settings, is_broker, controller_names, advertised, protocols)
    log_dirs = tuple(settings["log.dirs"] or settings["log.dir"])
    return NodeSettings(
        node_id=node_id,
        is_broker=is_broker,
        is_controller=is_controller,
        listeners=listeners,
        advertised_listeners=advertised,
        controller_listener_names=controller_names,
        controller_listener_protocols=tuple(_protocol_of(settings, name, protocols) for name in controller_names),
        inter_broker_listener_name=inter_broker,
        quorum_voters=voters,
        quorum_bootstrap_servers=tuple(parse_address(text) for text in settings["controller.quorum.bootstrap.servers"]),
        log_dirs=log_dirs,
        metadata_log_dir=settings["metadata.log.dir"] or log_dirs[0],
        rack=settings["broker.rack"],
    )


def _protocol_map(settings: BrokerSettings, controller_names: tuple[str, ...]) -> dict[str, str]:
    key = "listener.security.protocol.map"
    text = settings[key]
    protocols: dict[str, str] = {}
    for entry in (part.strip() for part in text.split(",") if part.strip()):
        name, colon, protocol = (part.strip().upper() for part in entry.rpartition(":"))
        if not colon or not name or protocol not in SECURITY_PROTOCOLS:
            known = ", ".join(SECURITY_PROTOCOLS)
            raise ConfigError(key, text, f"holds {entry}, which is not NAME:PROTOCOL with one of {known}")
        if name in protocols:
            raise ConfigError(key, text, f"holds the listener {name} twice")
        protocols[name] = protocol
    # KAFKA: with the default map, a controller listener of a new name is PLAINTEXT, unless a listener is secured.
    used = [entry.partition("://")[0].strip().upper() for entry in settings["listeners"]]
    if not settings.is_set(key) and not any(SECURITY_PROTOCOLS.get(name) for name in used):
        for name in controller_names:
            if name not in SECURITY_PROTOCOLS:
                protocols[name] = "PLAINTEXT"
    return protocols


def _protocol_of(settings: BrokerSettings, name: str, protocols: dict[str, str]) -> str:
    if name not in protocols:
        problem = f"does not say which security protocol listener {name} uses: add {name}:PLAINTEXT"
        raise ConfigError("listener.security.protocol.map", settings["listener.security.protocol.map"], problem)
    if protocols[name] not in SUPPORTED_PROTOCOLS:
        problem = f"gives listener {name} {protocols[name]}, but only PLAINTEXT is supported so far"
        raise ConfigError("listener.security.protocol.map", settings["listener.security.protocol.map"], problem)
    return protocols[name]


def _parse_listeners(settings: BrokerSettings, key: str, protocols: dict[str, str]) -> tuple[Listener, ...]:
    found = []
    text = ",".join(settings[key])
    for entry in settings[key]:
        name, separator, address = entry.partition("://")
        host, colon, port = address.rpartition(":")
        bare = host[1:-1] if host.startswith("[") and host.endswith("]") else host
        legal = all(letter.isascii() and (letter.isalnum() or letter in "-%._:") for letter in bare)
        if not separator or not name.strip() or not colon or not (port.isascii() and port.isdigit()) or not legal:
            raise ConfigError(key, text, f"holds {entry}, which is not NAME://host:port")
        if len(port) > 5 or int(port) > 65535:
            raise ConfigError(key, text, f"holds {entry}, whose port is not in [0..65535]")
        if ":" in bare and bare == host:
            raise ConfigError(key, text, f"holds {entry}, whose IPv6 host needs brackets: NAME://[host]:port")
        name = name.strip().upper()
        found.append(Listener(name, bare, int(port), _protocol_of(settings, name, protocols)))
    return tuple(found)


def _check_unique(settings: BrokerSettings, listeners: tuple[Listener, ...]) -> None:
    text = ",".join(settings["listeners"])
    names = [one.name for one in listeners]
    for one in listeners:
        if names.count(one.name) > 1:
            raise ConfigError("listeners", text, f"names the listener {one.name} twice")
        same_port = [other for other in listeners if other.port == one.port != 0]
        # One port may serve IPv4 and IPv6, each under a name of its own.
        families = {":" in other.host for other in same_port}
        if len(same_port) > len(families) or (len(same_port) == 2 and any(not other.host for other in same_port)):
            raise ConfigError("listeners", text, f"uses the port {one.port} twice")


def _advertised(
    settings: BrokerSettings,
    listeners: tuple[Listener, ...],
    controller_names: tuple[str, ...],
    protocols: dict[str, str],
    host_name: str,
) -> tuple[Listener, ...]:
    """What others are told. Listeners of controllers that are not advertised explicitly are told as they are."""
    key = "advertised.listeners"
    given: tuple[Listener, ...] = ()
    if settings[key] is not None:
        given = _parse_listeners(settings, key, protocols)
        text = ",".join(settings[key])
        bound = {one.name for one in listeners}
        for one in given:
            if one.name not in bound:
                raise ConfigError(key, text, f"holds {one.name}, which is not among listeners")
            if [other.name for other in given].count(one.name) > 1:
                raise ConfigError(key, text, f"names the listener {one.name} twice")
        told = {one.name for one in given}
        given += tuple(one for one in listeners if one.name in controller_names and one.name not in told)
    advertised = []
    for one in given or listeners:
        host = one.host or host_name
        if host in ("0.0.0.0", "::") and one.name not in controller_names:
            shown_key = key if settings[key] is not None else "listeners"
            problem = f"would tell clients {host}, which leads nowhere: set advertised.listeners to a real address"
            raise ConfigError(shown_key, ",".join(settings[shown_key]), problem)
        advertised.append(
            Listener(one.name, host_name if host in ("0.0.0.0", "::") else host, one.port, one.security_protocol)
        )
    return tuple(advertised)


def _voters(settings: BrokerSettings) -> tuple[VoterAddress, ...]:
    found = []
    for entry in settings["controller.quorum.voters"]:
        node_id, _, address = entry.partition("@")
        host, port = parse_address(address)
        found.append(VoterAddress(int(node_id), host, port))
    if len({voter.node_id for voter in found}) != len(found):
        raise ConfigError(
            "controller.quorum.voters", ",".join(settings["controller.quorum.voters"]), "repeats a node id"
        )
    return tuple(found)


def _check_roles(
    settings: BrokerSettings,
    is_broker: bool,
    is_controller: bool,
    listeners: tuple[Listener, ...],
    controller_names: tuple[str, ...],
) -> None:
    text = ",".join(settings["listeners"])
    names = ",".join(controller_names)
    own = [one.name for one in listeners if one.name in controller_names]
    others = [one.name for one in listeners if one.name not in controller_names]
    if is_controller and not own:
        problem = f"has none of the names in listeners, which is {text}: a controller must listen on one of them"
        raise ConfigError("controller.listener.names", names, problem)
    if not is_controller and own:
        problem = f"holds {own[0]}, which only controllers use: with process.roles=broker, drop it from listeners"
        raise ConfigError("listeners", text, problem)
    if is_broker and not others:
        problem = "has only names of controller.listener.names: a broker needs a listener of its own"
        raise ConfigError("listeners", text, problem)
    if not is_broker and others:
        problem = (
            f"holds {others[0]}, which is not in controller.listener.names: with process.roles=controller, drop it"
        )
        raise ConfigError("listeners", text, problem)


def _check_quorum(
    settings: BrokerSettings, node_id: int, is_broker: bool, is_controller: bool, voters: tuple[VoterAddress, ...]
) -> None:
    key = "controller.quorum.voters"
    if not voters:
        if not settings["controller.quorum.bootstrap.servers"]:
            problem = (
                "is empty, and so is controller.quorum.voters: give the addresses of the controllers in one of them"
            )
            raise ConfigError("controller.quorum.bootstrap.servers", "", problem)
        return
    text = ",".join(settings[key])
    is_voter = any(voter.node_id == node_id for voter in voters)
    if is_controller and not is_voter:
        raise ConfigError(key, text, f"does not hold this controller: add {node_id}@host:port")
    if is_broker and not is_controller and is_voter:
        problem = f"holds node id {node_id}, which is only a broker: give this node an id of its own"
        raise ConfigError(key, text, problem)


def _inter_broker_name(
    settings: BrokerSettings,
    is_broker: bool,
    controller_names: tuple[str, ...],
    advertised: tuple[Listener, ...],
    protocols: dict[str, str],
) -> str:
    key, other = "inter.broker.listener.name", "security.inter.broker.protocol"
    given = settings[key]
    if given is not None and settings.is_set(other):
        raise ConfigError(key, given, f"and {other} say the same thing twice: keep only one of them")
    shown_key = other if given is None else key
    name = str(settings[other] if given is None else given).upper()
    if name in controller_names and given is not None:
        raise ConfigError(key, given, "is in controller.listener.names: brokers need a listener of their own")
    told = [one.name for one in advertised if one.name not in controller_names]
    if is_broker and name not in told:
        problem = f"stands for the listener {name}, which is not advertised: use one of {', '.join(told)}"
        raise ConfigError(shown_key, name if given is None else given, problem)
    if is_broker:
        _protocol_of(settings, name, protocols)
    return name
