from __future__ import annotations

import pytest

from cluster.config.node import Listener, NodeSettings, VoterAddress, read_node
from cluster.config.settings import BrokerSettings
from cluster.config.values import ConfigError

COMBINED = {
    "process.roles": "broker,controller",
    "node.id": "1",
    "listeners": "PLAINTEXT://127.0.0.1:9092,CONTROLLER://127.0.0.1:9093",
    "controller.listener.names": "CONTROLLER",
    "controller.quorum.bootstrap.servers": "127.0.0.1:9093",
}
BROKER = COMBINED | {"process.roles": "broker", "listeners": "PLAINTEXT://127.0.0.1:9092"}
CONTROLLER = COMBINED | {"process.roles": "controller", "listeners": "CONTROLLER://127.0.0.1:9093"}


def node(base: dict[str, str], **changes: str | None) -> NodeSettings:
    settings = dict(base)
    for name, value in changes.items():
        settings[name.replace("_", ".")] = value or ""
    return read_node(BrokerSettings({name: value for name, value in settings.items() if value != "-"}), "myhost")


def test_a_combined_node_has_listeners_of_both_kinds() -> None:
    found = node(COMBINED)
    assert (found.node_id, found.is_broker, found.is_controller) == (1, True, True)
    assert found.broker_listeners == (Listener("PLAINTEXT", "127.0.0.1", 9092),)
    assert found.controller_listeners == (Listener("CONTROLLER", "127.0.0.1", 9093),)
    assert found.advertised_listeners == found.listeners
    assert found.inter_broker_listener_name == "PLAINTEXT"
    assert found.quorum_bootstrap_servers == (("127.0.0.1", 9093),)


def test_a_broker_reaches_controllers_by_a_name_it_does_not_listen_on() -> None:
    found = node(BROKER)
    assert found.controller_listeners == ()
    assert found.controller_listener_names == ("CONTROLLER",)
    assert found.controller_listener_protocols == ("PLAINTEXT",)


def test_a_controller_needs_no_other_listener() -> None:
    assert node(CONTROLLER).broker_listeners == ()


def test_listener_names_are_in_capitals() -> None:
    found = node(
        COMBINED,
        listeners="client://127.0.0.1:1,controller://127.0.0.1:2",
        controller_listener_names="controller",
        listener_security_protocol_map="client:plaintext,controller:plaintext",
        inter_broker_listener_name="client",
    )
    assert [one.name for one in found.listeners] == ["CLIENT", "CONTROLLER"]
    assert found.inter_broker_listener_name == "CLIENT"


def test_a_listener_without_host_advertises_the_name_of_the_machine() -> None:
    found = node(COMBINED, listeners="PLAINTEXT://:9092,CONTROLLER://:9093")
    assert [one.host for one in found.listeners] == ["", ""]
    assert [one.host for one in found.advertised_listeners] == ["myhost", "myhost"]


def test_advertised_listeners_replace_what_clients_are_told() -> None:
    found = node(COMBINED, advertised_listeners="PLAINTEXT://broker.example:19092")
    assert found.advertised_broker_listeners == (Listener("PLAINTEXT", "broker.example", 19092),)
    assert found.advertised_controller_listeners == (Listener("CONTROLLER", "127.0.0.1", 9093),)


def test_ipv6_hosts_stand_in_brackets() -> None:
    found = node(BROKER, listeners="PLAINTEXT://[::1]:9092")
    assert found.listeners[0].host == "::1"


def test_one_port_may_serve_ipv4_and_ipv6() -> None:
    found = node(
        BROKER,
        listeners="PLAINTEXT://127.0.0.1:9092,V6://[::1]:9092",
        listener_security_protocol_map="PLAINTEXT:PLAINTEXT,V6:PLAINTEXT,CONTROLLER:PLAINTEXT",
    )
    assert len(found.listeners) == 2


def test_directories() -> None:
    found = node(COMBINED, log_dir="/one", log_dirs="/two,/three")
    assert (found.log_dirs, found.metadata_log_dir) == (("/two", "/three"), "/two")
    assert node(COMBINED, log_dir="/one", metadata_log_dir="/meta").metadata_log_dir == "/meta"
    assert node(COMBINED, log_dir="/one").log_dirs == ("/one",)


def test_fixed_voters_are_parsed() -> None:
    found = node(COMBINED, controller_quorum_voters="1@127.0.0.1:9093,2@[::1]:9094")
    assert found.quorum_voters == (VoterAddress(1, "127.0.0.1", 9093), VoterAddress(2, "::1", 9094))


@pytest.mark.parametrize(
    ("base", "changes", "problem"),
    [
        (COMBINED, {"broker_id": "2"}, "key broker.id: value 2 differs from node.id"),
        (COMBINED, {"node_id": "-"}, "key node.id: .* must be given"),
        (COMBINED, {"process_roles": "-"}, "key process.roles: .* must be given"),
        (COMBINED, {"controller_listener_names": "-"}, "key controller.listener.names: .* must be given"),
        (COMBINED, {"listeners": "PLAINTEXT://:9092"}, "a controller must listen on one of them"),
        (COMBINED, {"listeners": "CONTROLLER://:9093"}, "a broker needs a listener of its own"),
        (BROKER, {"listeners": COMBINED["listeners"]}, "holds CONTROLLER, which only controllers use"),
        (
            CONTROLLER,
            {"listeners": COMBINED["listeners"]},
            "holds PLAINTEXT, which is not in controller.listener.names",
        ),
        (COMBINED, {"listeners": "PLAINTEXT:9092"}, "not NAME://host:port"),
        (COMBINED, {"listeners": "PLAINTEXT://h"}, "not NAME://host:port"),
        (COMBINED, {"listeners": "://h:1"}, "not NAME://host:port"),
        (COMBINED, {"listeners": "PLAINTEXT://h:70000"}, "whose port is not in"),
        (COMBINED, {"listeners": "PLAINTEXT://::1:9092"}, "needs brackets"),
        (
            COMBINED,
            {"listeners": "PLAINTEXT://a:1,PLAINTEXT://b:2,CONTROLLER://:3"},
            "names the listener PLAINTEXT twice",
        ),
        (COMBINED, {"listeners": "PLAINTEXT://:1,CONTROLLER://:1"}, "uses the port 1 twice"),
        (COMBINED, {"listeners": "PLAINTEXT://0.0.0.0:9092,CONTROLLER://:9093"}, "which leads nowhere"),
        (
            COMBINED,
            {"listeners": "SSL://:1,CONTROLLER://:2"},
            "listener CONTROLLER uses: add CONTROLLER:PLAINTEXT|SSL SSL",
        ),
        (COMBINED, {"listeners": "CLIENT://:1,CONTROLLER://:2"}, "which security protocol listener CLIENT uses"),
        (
            COMBINED,
            {"listener_security_protocol_map": "PLAINTEXT:SASL_SSL,CONTROLLER:PLAINTEXT"},
            "gives listener PLAINTEXT SASL_SSL, but only PLAINTEXT is supported",
        ),
        (COMBINED, {"listener_security_protocol_map": "A:B"}, "not NAME:PROTOCOL"),
        (COMBINED, {"listener_security_protocol_map": "A:SSL,A:SSL"}, "holds the listener A twice"),
        (COMBINED, {"advertised_listeners": "PLAINTEXT://0.0.0.0:1"}, "key advertised.listeners: .* leads nowhere"),
        (COMBINED, {"advertised_listeners": "SSL://h:1"}, "SSL"),
        (COMBINED, {"inter_broker_listener_name": "CONTROLLER"}, "brokers need a listener of their own"),
        (COMBINED, {"inter_broker_listener_name": "NOPE"}, "which is not advertised: use one of PLAINTEXT"),
        (
            COMBINED,
            {"inter_broker_listener_name": "PLAINTEXT", "security_inter_broker_protocol": "PLAINTEXT"},
            "say the same thing twice",
        ),
        (COMBINED, {"controller_quorum_bootstrap_servers": ""}, "give the addresses of the controllers"),
        (COMBINED, {"controller_quorum_voters": "2@h:1"}, "does not hold this controller: add 1@host:port"),
        (BROKER, {"controller_quorum_voters": "1@h:1"}, "which is only a broker"),
        (COMBINED, {"controller_quorum_voters": "1@h:1,1@h:2"}, "repeats a node id"),
    ],
)
def test_settings_that_do_not_make_a_node_are_refused(
    base: dict[str, str], changes: dict[str, str], problem: str
) -> None:
    with pytest.raises(ConfigError, match=problem):
        node(base, **changes)
