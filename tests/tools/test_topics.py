"""kafka-topics without a cluster: what is chosen, what is refused, and how partitions are shown."""

from __future__ import annotations

import pytest

from pykafkacore.tools.common import ToolError
from pykafkacore.tools.topics import (
    Partition,
    Topic,
    choose_topics,
    describe_lines,
    parse,
    parse_assignment,
    parse_configs,
)

NAMES = [("b", False), ("a", False), ("ab", False), ("__consumer_offsets", True)]
HEALTHY = Partition(0, 1, (1, 2), (1, 2), (), ())
SHRUNK = Partition(1, 2, (2, 3), (2,), (3,), ())
OFFLINE = Partition(2, -1, (9,), (9,))


def options(*more: str):
    return parse(["--bootstrap-server", "h:1", *more])


def chosen(*more: str) -> list[str]:
    return choose_topics(NAMES, options("--list", *more))


def test_topics_are_chosen_by_a_pattern_of_the_whole_name() -> None:
    assert chosen() == ["__consumer_offsets", "a", "ab", "b"]
    assert chosen("--exclude-internal") == ["a", "ab", "b"]
    assert chosen("--topic", "a") == ["a"]
    assert chosen("--topic", "a.*") == ["a", "ab"]
    assert chosen("--topic", '"b, ab"') == ["ab", "b"]


def test_a_pattern_that_cannot_be_is_refused() -> None:
    with pytest.raises(ToolError, match="is an invalid regex"):
        chosen("--topic", "a(")


def test_configs_are_pairs() -> None:
    assert parse_configs(["a = b", "c=d=e", "f="]) == {"a": "b", "c": "d=e", "f": ""}
    with pytest.raises(ToolError, match="Invalid topic config"):
        parse_configs(["a"])


def test_assignments_are_lists_of_brokers_of_one_length() -> None:
    assert parse_assignment("1:2,2:3") == [[1, 2], [2, 3]]
    for text, said in (("1:1", "duplicate entries"), ("1:2,1", "different replication factor"), ("x", "For input string")):
        with pytest.raises(ToolError, match=said):
            parse_assignment(text)


@pytest.mark.parametrize(
    ("more", "said"),
    [
        ([], "Command must include exactly one action"),
        (["--list", "--create"], "Command must include exactly one action"),
        (["--create"], 'Missing required argument "[topic]"'),
        (["--alter", "--topic", "t"], 'Missing required argument "[partitions]"'),
        (["--describe", "--if-exists"], "--topic or --topic-id is required to describe a topic"),
        (["--list", "--if-exists"], 'Option "[if-exists]" can\'t be used with option "[list]"'),
        (
            ["--create", "--topic", "t", "--replica-assignment", "1", "--partitions", "1"],
            'Option "[replica-assignment]" can\'t be used with option "[partitions]"',
        ),
    ],
)
def test_options_that_do_not_go_together_are_refused(
    capsys: pytest.CaptureFixture[str], more: list[str], said: str
) -> None:
    with pytest.raises(SystemExit) as ended:
        options(*more)
    assert ended.value.code == 1
    assert capsys.readouterr().err.startswith(said)


def test_a_value_that_is_no_number_is_an_error_of_the_command(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        options("--create", "--topic", "t", "--partitions", "many")
    assert capsys.readouterr().out == (
        "Error while executing topic command : Cannot parse argument 'many' of option partitions\n"
    )


def described(*more: str, min_isr: int | None = 2, configs: dict[str, str] | None = None) -> list[str]:
    topic = Topic("t", "ID", (HEALTHY, SHRUNK, OFFLINE), configs or {}, min_isr)
    return describe_lines(topic, options("--describe", *more), [1, 2, 3])


def test_a_topic_and_its_partitions_are_described() -> None:
    assert described(configs={"x": "1", "y": "2"}) == [
        "Topic: t\tTopicId: ID\tPartitionCount: 3\tReplicationFactor: 2\tConfigs: x=1,y=2",
        "\tTopic: t\tPartition: 0\tLeader: 1\tReplicas: 1,2\tIsr: 1,2\tElr: \tLastKnownElr: ",
        "\tTopic: t\tPartition: 1\tLeader: 2\tReplicas: 2,3\tIsr: 2\tElr: 3\tLastKnownElr: ",
        "\tTopic: t\tPartition: 2\tLeader: none\tReplicas: 9\tIsr: 9\tElr: N/A\tLastKnownElr: N/A",
    ]


@pytest.mark.parametrize(
    ("report", "partitions"),
    [
        ("--under-replicated-partitions", ["1"]),
        ("--unavailable-partitions", ["2"]),
        ("--under-min-isr-partitions", ["1", "2"]),
        ("--at-min-isr-partitions", ["0"]),
    ],
)
def test_reports_are_lines_of_the_partitions_concerned(report: str, partitions: list[str]) -> None:
    assert [line.split("Partition: ")[1].split("\t")[0] for line in described(report)] == partitions


def test_topics_with_overrides_are_those_that_have_configs() -> None:
    assert described("--topics-with-overrides") == []
    assert len(described("--topics-with-overrides", configs={"x": "1"})) == 1


def test_replicas_that_come_and_go_are_shown_while_they_do() -> None:
    moving = Partition(0, 1, (1, 2), (1,), (), (), adding=(2,), removing=())
    line = describe_lines(Topic("t", "ID", (moving,), {}), options("--describe"), [1])[1]
    assert "\tAdding Replicas: 2\tRemoving Replicas: \tElr: " in line
    # Those being added do not count yet.
    assert describe_lines(Topic("t", "ID", (moving,), {}), options("--describe", "--under-replicated-partitions"), [1]) == []
