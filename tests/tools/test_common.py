"""What the tools share: how options are read and refused, properties, addresses, the order of Java's maps."""

from __future__ import annotations

from pathlib import Path

import pytest

from pykafkacore.tools.common import (
    CommandParser,
    Parser,
    ToolError,
    client_properties,
    finish,
    handle_help,
    int_property,
    java_hash_order,
    moved_option,
    parse_bootstrap,
    parse_pairs,
    read_properties,
)


def parser() -> Parser:
    made = Parser("kafka-x", "Does x.")
    made.add_argument("--topic")
    made.add_argument("--count", type=int)
    made.add_argument("--config", action="append")
    made.add_argument("--list", action="store_true")
    made.add_argument("--help", action="store_true")
    return made


def refused(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    with pytest.raises(SystemExit) as ended:
        parser().parse(arguments)
    assert ended.value.code == 1
    found = capsys.readouterr()
    assert found.out == ""
    return found.err


def test_options_are_read_with_two_dashes_or_one() -> None:
    options = parser().parse(["-topic", "a", "--count=3", "-list", "--config", "x=1", "--config", "y=2"])
    assert (options.topic, options.count, options.list, options.config) == ("a", 3, True, ["x=1", "y=2"])


def test_what_is_no_option_is_passed_over() -> None:
    assert parser().parse(["--list", "and", "so", "on"]).list


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--nonsense"], "nonsense is not a recognized option\n"),
        (["--nonsense=3"], "nonsense is not a recognized option\n"),
        (["--li"], "li is not a recognized option\n"),
        (["--topic"], "Option topic requires an argument\n"),
        (["--count", "many"], "Cannot parse argument 'many' of option count\n"),
        (["--topic", "a", "--topic", "b"], "Found multiple arguments for option topic, but you asked for only one\n"),
    ],
)
def test_mistakes_end_with_exit_code_1_and_kafkas_words(
    capsys: pytest.CaptureFixture[str], arguments: list[str], said: str
) -> None:
    assert refused(capsys, *arguments) == said


def test_a_missing_option_is_named_before_the_help(capsys: pytest.CaptureFixture[str]) -> None:
    made = parser()
    with pytest.raises(SystemExit):
        made.require(made.parse([]), "topic")
    assert capsys.readouterr().err.startswith('Missing required argument "[topic]"\nusage: kafka-x')


def test_help_goes_to_standard_error_with_exit_code_1(capsys: pytest.CaptureFixture[str]) -> None:
    made = parser()
    with pytest.raises(SystemExit) as ended:
        handle_help(made, made.parse(["--help"]), "Does x.")
    assert ended.value.code == 1
    assert capsys.readouterr().err.startswith("Does x.\nusage: kafka-x")


def test_an_option_under_its_old_name_is_taken_with_a_warning(capsys: pytest.CaptureFixture[str]) -> None:
    made = Parser("kafka-x", "Does x.")
    made.add_argument("--new-name")
    made.add_argument("--old.name", dest="old_name")
    options = made.parse(["--old.name", "v"])
    moved_option(made, options, "new-name", "old.name", "Option")
    assert options.new_name == "v"
    assert capsys.readouterr().out == (
        "Option --old.name is deprecated and will be removed in a future version. Use --new-name instead.\n"
    )
    with pytest.raises(SystemExit):
        moved_option(made, made.parse(["--old.name", "v", "--new-name", "w"]), "new-name", "old.name", "Option")
    assert "Options --new-name and --old.name cannot be specified together." in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ([], "kafka-y: error: too few arguments\n"),
        (["walk"], "kafka-y: error: invalid choice: 'walk' (choose from 'go')\n"),
        (["go"], "kafka-y: error: argument --id/-i is required\n"),
        (["go", "-i", "x"], "kafka-y: error: argument --id/-i: could not convert 'x' to Integer (For input string: \"x\")\n"),
        (["go", "-i", "1", "--far"], "kafka-y: error: unrecognized arguments: '--far'\n"),
    ],
)
def test_mistakes_in_commands_are_told_after_the_usage(
    capsys: pytest.CaptureFixture[str], arguments: list[str], said: str
) -> None:
    made = CommandParser("kafka-y", "Does y.")
    made.add_commands("go").add_parser("go", about="Goes.").add_argument("--id", "-i", type=int, required=True)
    with pytest.raises(SystemExit) as ended:
        made.parse_args(arguments)
    assert ended.value.code == 1
    error = capsys.readouterr().err
    assert error.startswith("usage: kafka-y") and error.endswith(said)


@pytest.mark.parametrize("code", [0, 1])
def test_help_of_commands_goes_to_standard_output(capsys: pytest.CaptureFixture[str], code: int) -> None:
    with pytest.raises(SystemExit) as ended:
        CommandParser("kafka-y", "Does y.", help_code=code).parse_args(["--help"])
    assert ended.value.code == code
    assert "Does y." in capsys.readouterr().out


def test_pairs_keep_what_follows_the_first_equals_sign() -> None:
    assert parse_pairs(["a=b=c", "d", "a=e"], "property") == {"a": "e", "d": ""}
    with pytest.raises(ToolError, match="--property =x: expected key=value"):
        parse_pairs(["=x"], "property")


def test_properties_are_read_from_a_file_and_the_command_line(tmp_path: Path) -> None:
    path = tmp_path / "client.properties"
    path.write_text("# a comment\nacks=1\nclient.id = me\n")
    assert client_properties(str(path), {"acks": "all"}) == {"acks": "all", "client.id": "me"}


def test_a_file_that_is_not_there_is_named() -> None:
    with pytest.raises(ToolError, match=r"nowhere\.properties: No such file or directory"):
        read_properties("nowhere.properties")


def test_security_that_is_not_offered_is_refused_by_name() -> None:
    with pytest.raises(ToolError, match=r"security\.protocol=SSL is not offered yet"):
        client_properties(None, {"security.protocol": "SSL"})


def test_numbers_among_properties_are_checked() -> None:
    assert int_property({"a": " 5 "}, "a", 1) == 5
    assert int_property({}, "a", 1) == 1
    with pytest.raises(ToolError, match="Invalid value x for configuration a"):
        int_property({"a": "x"}, "a", 1)


def test_addresses_are_hosts_with_ports() -> None:
    assert parse_bootstrap("a:1, [::1]:2,") == [("a", 1), ("::1", 2)]


@pytest.mark.parametrize("text", ["", ",", "host", "host:", ":1", "host:x", "host:0", "host:65536"])
def test_addresses_that_cannot_be_are_refused(text: str) -> None:
    with pytest.raises(ToolError, match="--bootstrap-server"):
        parse_bootstrap(text)


def test_names_are_in_the_order_of_a_java_map() -> None:
    # As java.util.HashMap and HashSet iterate these.
    names = ["cfg", "placed", "plain", "plain2", "with.dot_x"]
    assert java_hash_order(names, is_sized=True) == ["placed", "with.dot_x", "cfg", "plain", "plain2"]
    assert java_hash_order(["placed", "plain", "plain2"], is_sized=True) == ["plain", "plain2", "placed"]
    # Those that fall together stay in the order in which they came.
    assert java_hash_order(["cfg", "plain2", "plain", "with.dot_x"]) == ["with.dot_x", "cfg", "plain2", "plain"]


def test_a_tool_ends_with_its_code_and_ctrl_c_with_130() -> None:
    def broken() -> int:
        raise KeyboardInterrupt

    with pytest.raises(SystemExit) as ended:
        finish(broken)
    assert ended.value.code == 130
    with pytest.raises(SystemExit) as ended:
        finish(lambda: 3)
    assert ended.value.code == 3


def test_what_follows_an_option_is_its_value_whatever_it_looks_like() -> None:
    made = Parser("kafka-x", "Does x.")
    made.add_argument("--by")
    made.add_argument("--far", action="store_true")
    options = made.parse(["--by", "-PT1H", "--far"])
    assert (options.by, options.far) == ("-PT1H", True)
    assert made.parse(["--by", "--far"]).by == "--far"
