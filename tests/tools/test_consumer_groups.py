"""kafka-consumer-groups: what its options mean, and its tables to the letter."""

from __future__ import annotations

from pathlib import Path

import pytest

from pykafkacore.client.groups import (
    CommittedOffset,
    Coordinator,
    DescribedGroup,
    GroupMember,
    ListedGroup,
    read_assignment,
)
from pykafkacore.protocol.errors import ApiError, Code
from pykafkacore.protocol.schemas.groups import CONSUMER_PROTOCOL_ASSIGNMENT
from pykafkacore.tools import shown_groups
from pykafkacore.tools.common import ToolError
from pykafkacore.tools.consumer_groups import parse_states, parse_types, run
from pykafkacore.tools.java import Mistake
from pykafkacore.tools.reset_offsets import parse_partitions, print_csv, print_plan, read_plans
from pykafkacore.tools.shown_groups import OffsetRow

WHERE = Coordinator(1, "localhost", 9092)
MEMBER = GroupMember("consumer-1", None, "client", "/127.0.0.1", (("t", 1), ("t", 0), ("s", 2)), (("t", 0),), 3, True)
GROUP = DescribedGroup("g", "Stable", "uniform", WHERE, (MEMBER,), 4, 5)


def of_state(state: str, *members: GroupMember) -> DescribedGroup:
    return DescribedGroup("g", state, "", WHERE, members)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--describe"], 'Missing required argument "[bootstrap-server]"\n'),
        (["--bootstrap-server", "x:1"], "Command must include exactly one action: "),
        (["--bootstrap-server", "x:1", "--list", "--members"], "Option(s) [members] are unavailable given other options"),
        (["--bootstrap-server", "x:1", "--list", "--group", "g"], 'Option "[group]" can\'t be used with option "[list]"\n'),
        (
            ["--bootstrap-server", "x:1", "--reset-offsets", "--group", "g", "--dry-run", "--to-latest", "--shift-by", "-2"],
            'Option "[to-latest]" can\'t be used with option "[shift-by]"\n',
        ),
    ],
)
def test_mistakes_in_options_end_with_exit_code_1(
    capsys: pytest.CaptureFixture[str], arguments: list[str], said: str
) -> None:
    with pytest.raises(SystemExit) as ended:
        run(arguments)
    told = capsys.readouterr()
    assert ended.value.code == 1
    assert (told.out, told.err[: len(said)]) == ("", said)


def test_a_number_that_is_none_is_told_on_standard_output_and_no_failure(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        run(["--bootstrap-server", "x:1", "--list", "--timeout", "soon"])
    assert ended.value.code == 0
    assert capsys.readouterr().out == (
        "\nError: Executing consumer group command failed due to Cannot parse argument 'soon' of option timeout\n"
    )


def test_a_reset_without_a_mode_warns(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        run(["--bootstrap-server", "x:1", "--reset-offsets"])
    assert capsys.readouterr().err.startswith("WARN: No action will be performed as the --execute option is missing. ")


@pytest.mark.parametrize(
    ("pattern", "verdict"),
    [
        ("a.*", "is valid"),
        ("a(b", "is invalid: missing closing )"),
        ("a[b", "is invalid: missing closing ]"),
        ("(?<=a)b", "is invalid: invalid named capture"),
        ("(?=a)b", "is invalid: invalid or unsupported Perl syntax"),
        ("(a)\\1", "is invalid: invalid escape sequence"),
    ],
)
def test_a_regular_expression_is_judged_as_the_brokers_do(
    capsys: pytest.CaptureFixture[str], pattern: str, verdict: str
) -> None:
    assert run(["--validate-regex", pattern]) == 0
    assert capsys.readouterr().out == f"The regular expression `{pattern}` {verdict}.\n"


def test_states_and_types_are_taken_in_any_case() -> None:
    assert parse_states("stable, preparingREBALANCE") == ["Stable", "PreparingRebalance"]
    assert parse_types("consumer,Classic") == ["Consumer", "Classic"]
    with pytest.raises(Mistake, match=r"Invalid types list 'share'. Valid types are: Classic, Consumer"):
        parse_types("share")


def test_groups_are_listed_in_columns(capsys: pytest.CaptureFixture[str]) -> None:
    groups = [ListedGroup("a", "consumer", "Stable", "classic"), ListedGroup("a-longer-group-id", "", "", "")]
    shown_groups.print_list(groups, with_type=True, with_state=True)
    assert capsys.readouterr().out == (
        "GROUP                       TYPE                 STATE               \n"
        "a                           Classic              Stable              \n"
        "a-longer-group-id           Unknown              Unknown             \n"
    )


def test_offsets_stand_beside_who_reads_them(capsys: pytest.CaptureFixture[str]) -> None:
    rows = [
        OffsetRow(("t", 0), CommittedOffset(3, 7), 10, "consumer-1", "/127.0.0.1", "client"),
        OffsetRow(("t", 1), None, 4, "consumer-1", "/127.0.0.1", "client"),
        OffsetRow(("gone", 0), CommittedOffset(1), None, "-", "-", "-"),
    ]
    shown_groups.print_offsets(GROUP, rows, verbose=True)
    assert capsys.readouterr().out == (
        "\n"
        "GROUP           TOPIC           PARTITION  LEADER-EPOCH    CURRENT-OFFSET  LOG-END-OFFSET  LAG             "
        "CONSUMER-ID     HOST            CLIENT-ID\n"
        "g               t               0          7               3               10              7               "
        "consumer-1      /127.0.0.1      client\n"
        "g               t               1          -               -               4               -               "
        "consumer-1      /127.0.0.1      client\n"
        "g               gone            0          -               1               -               -               "
        "-               -               -\n"
    )


def test_members_are_told_with_their_assignments(capsys: pytest.CaptureFixture[str]) -> None:
    classic = GroupMember("consumer-2", "one", "client", "/127.0.0.1", (), (), 3, False)
    shown_groups.print_members(DescribedGroup("g", "Stable", "uniform", WHERE, (MEMBER, classic), 4, 5), verbose=True)
    assert capsys.readouterr().out == (
        "\n"
        "GROUP           CONSUMER-ID     GROUP-INSTANCE-ID HOST            CLIENT-ID       #PARTITIONS     "
        "CURRENT-EPOCH   CURRENT-ASSIGNMENT   TARGET-EPOCH    TARGET-ASSIGNMENT    UPGRADED\n"
        "g               consumer-1                        /127.0.0.1      client          3               "
        "3               s:2;t:0,1            5               t:0                  true\n"
        "g               consumer-2      one               /127.0.0.1      client          0               "
        "3               -                    5               -                    false\n"
    )


def test_a_group_without_members_says_so_on_standard_error(capsys: pytest.CaptureFixture[str]) -> None:
    shown_groups.print_members(of_state("Empty"), verbose=False)
    told = capsys.readouterr()
    assert told.err == "\nConsumer group 'g' has no active members.\n"
    assert told.out == "\nGROUP           CONSUMER-ID     HOST            CLIENT-ID       #PARTITIONS     \n"


def test_the_state_of_a_group(capsys: pytest.CaptureFixture[str]) -> None:
    shown_groups.print_state(GROUP, verbose=True)
    shown_groups.print_state(of_state("Dead"), verbose=False)
    assert capsys.readouterr().out == (
        "\n"
        "GROUP           COORDINATOR (ID)          ASSIGNMENT-STRATEGY  STATE                GROUP-EPOCH     "
        "TARGET-ASSIGNMENT-EPOCH   #MEMBERS\n"
        "g               localhost:9092  (1)       uniform              Stable               4               "
        "5                         1\n"
        "\nError: Consumer group 'g' does not exist.\n"
    )


def test_a_state_that_a_group_cannot_have_is_an_error() -> None:
    with pytest.raises(ToolError, match="Expected a valid consumer group state, but found 'NotReady'"):
        shown_groups.print_state(of_state("NotReady"), verbose=False)


def test_deleted_offsets_are_told_by_partition(capsys: pytest.CaptureFixture[str]) -> None:
    refused = ApiError(Code.GROUP_SUBSCRIBED_TO_TOPIC)
    results = {("t", 1): None, ("t", 0): refused, ("u", -1): ApiError(Code.UNKNOWN_TOPIC_OR_PARTITION)}
    shown_groups.print_deletion("g", Code.GROUP_SUBSCRIBED_TO_TOPIC, results)
    errors = "Error: org.apache.kafka.common.errors."
    assert capsys.readouterr().out == (
        "\nError: Encountered some partition-level error, see the follow-up details.\n"
        "\nTOPIC           PARTITION  STATUS         "
        f"\nt               0          {errors}GroupSubscribedToTopicException: Deleting offsets of a topic is forbidden "
        "while the consumer group is actively subscribed to it."
        "\nt               1          Successful     "
        f"\nu               -          {errors}UnknownTopicOrPartitionException: This server does not host this "
        "topic-partition.\n"
    )


def test_an_assignment_of_a_classic_group_is_read() -> None:
    message = CONSUMER_PROTOCOL_ASSIGNMENT
    topic = message.TopicPartition(topic="t", partitions=[0, 2])
    data = b"\x00\x01" + message.encode(message(assigned_partitions=[topic]), 1)
    assert read_assignment(data) == (("t", 0), ("t", 2))
    assert read_assignment(b"") == ()


# ---- plans


def test_partitions_stand_behind_a_colon() -> None:
    assert parse_partitions("t:0,12") == [("t", 0), ("t", 12)]
    with pytest.raises(Mistake, match=r"Invalid partition 'x' specified in topic arg 't:x''"):
        parse_partitions("t:x")
    with pytest.raises(Mistake, match="Invalid topic arg 't:1:2', expected topic name and partitions"):
        parse_partitions("t:1:2")


def test_a_plan_is_a_table_or_csv(capsys: pytest.CaptureFixture[str]) -> None:
    long_name = "a-topic-with-a-name-beyond-24"
    plans = {"g": {("t", 0): 3, (long_name, 1): 4}}
    print_plan(plans)
    print_csv(plans, is_single=True)
    print_csv(plans, is_single=False)
    assert capsys.readouterr().out == (
        "\nGROUP           TOPIC                         PARTITION  NEW-OFFSET"
        "\ng               t                             0          3"
        f"\ng               {long_name} 1          4\n"
        f't,0,3\n"{long_name}",1,4\n\n'
        f'g,t,0,3\ng,"{long_name}",1,4\n\n'
    )


def test_what_was_exported_is_read_again(tmp_path: Path) -> None:
    file = tmp_path / "plan.csv"
    file.write_text('t,0,3\n"u",1,4\n\n')
    assert read_plans(str(file), ["g"]) == {"g": {("t", 0): 3, ("u", 1): 4}}
    file.write_text("g,t,0,3\nh,t,0,5\n")
    assert read_plans(str(file), ["g"]) == {"g": {("t", 0): 3}, "h": {("t", 0): 5}}


@pytest.mark.parametrize("text", ["t,0\n", "t,x,3\n", "t,0,-1\n", "t,0,9223372036854775808\n", "a,b,c,d,e\n", ",0,1\n"])
def test_a_line_that_is_no_plan_is_named(tmp_path: Path, text: str) -> None:
    file = tmp_path / "plan.csv"
    file.write_text("t,0,3\n" + text)
    with pytest.raises(ToolError, match=r"plan.csv, line 2: .* is not topic,partition,offset"):
        read_plans(str(file), ["g"])


def test_a_file_that_is_not_there_is_named() -> None:
    with pytest.raises(ToolError, match=r"nowhere.csv: No such file or directory"):
        read_plans("nowhere.csv", ["g"])
