from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cluster.config.properties import PropertiesError, Property, format_property, parse_properties


def values(text: str) -> dict[str, str]:
    return {key: entry.value for key, entry in parse_properties(text).items()}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a=b", {"a": "b"}),
        ("a = b", {"a": "b"}),
        ("a:b", {"a": "b"}),
        ("a b", {"a": "b"}),
        ("  a\t=  b  ", {"a": "b  "}),
        ("a", {"a": ""}),
        ("a=", {"a": ""}),
        ("=b", {"": "b"}),
        ("a==b", {"a": "=b"}),
        ("a=b=c:d", {"a": "b=c:d"}),
        ("# a=b\n! c=d\n\n  # e=f\n", {}),
        ("a=b # not a comment", {"a": "b # not a comment"}),
        ("a=1\na=2", {"a": "2"}),
        ("a=x,\\\n   y,\\\n   z", {"a": "x,y,z"}),
        ("a=x\\\\\nb=y", {"a": "x\\", "b": "y"}),
        ("a=x\\", {"a": "x"}),
        ("# c \\\na=b", {"a": "b"}),
        ("a\\=b=c", {"a=b": "c"}),
        ("a\\ b=c", {"a b": "c"}),
        ("a=\\t\\n\\q\\u0041", {"a": "\t\nqA"}),
        ("a=\\ud83d\\ude00", {"a": "\U0001f600"}),
        ("a=b\r\nc=d\re=f", {"a": "b", "c": "d", "e": "f"}),
    ],
)
def test_the_format_is_read_as_java_reads_it(text: str, expected: dict[str, str]) -> None:
    assert values(text) == expected


def test_lines_are_counted_through_comments_and_continuations() -> None:
    assert parse_properties("# one\na=1,\\\n 2\n\nb=3") == {"a": Property("1,2", 2), "b": Property("3", 5)}


def test_a_broken_escape_is_named_with_its_line() -> None:
    with pytest.raises(PropertiesError, match=r"line 2: .*four hexadecimal digits"):
        parse_properties("a=b\nc=\\u00g0")


@given(st.text(st.characters(exclude_categories=["Cs"]), min_size=1), st.text(st.characters(exclude_categories=["Cs"])))
def test_what_is_formatted_is_read_back(key: str, value: str) -> None:
    assert values("x=y\n" + format_property(key, value) + "\n# the end")[key] == value


@given(st.text())
def test_any_text_is_read_or_refused(text: str) -> None:
    try:
        parse_properties(text)
    except PropertiesError as error:
        assert "line" in str(error)
