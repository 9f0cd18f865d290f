from __future__ import annotations

import pytest

from pykafkacore.protocol.notation import SchemaError, parse_fields, parse_versions
from pykafkacore.protocol.schema import Message
from pykafkacore.protocol.types import MalformedMessage, UnencodableMessage

THINGS = Message("Things", versions="0-2", flexible="2+", fields="""
    name      string
    parts     []Part     nullable=1+
        id    int32      default=-1
        note  string     1+ nullable default=null
    rank      int16      1+
    hint      int16      1+ ignorable
    spare     []Part     2+ tag=3
""")  # fmt: skip


def test_nested_structs_are_attributes_and_have_defaults() -> None:
    part = THINGS.Part()
    assert (part.id, part.note) == (-1, None)
    assert THINGS(name="x").parts == []


def test_every_struct_gets_a_list_of_its_own() -> None:
    one, other = THINGS(), THINGS()
    one.parts.append(THINGS.Part())
    assert other.parts == []


def test_structs_compare_by_value_and_show_their_fields() -> None:
    assert THINGS.Part(id=1) == THINGS.Part(id=1)
    assert THINGS.Part(id=1) != THINGS.Part(id=2)
    assert THINGS.Part(id=1) != THINGS()
    assert repr(THINGS.Part(id=1)) == "Part(id=1, note=None)"


def test_replace_copies_a_struct_with_changes() -> None:
    part = THINGS.Part(id=1, note="a")
    assert part.replace(id=2) == THINGS.Part(id=2, note="a")
    assert part.id == 1


def test_a_misspelt_field_is_refused_at_construction() -> None:
    with pytest.raises(TypeError):
        THINGS.Part(idd=1)
    with pytest.raises(AttributeError):
        THINGS.Part().idd = 1


def test_a_struct_that_does_not_exist_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="no struct Prat"):
        THINGS.Prat  # noqa: B018


def test_a_version_out_of_range_is_refused() -> None:
    with pytest.raises(ValueError, match="versions 0-2, not 3"):
        THINGS.decode(b"", 3)
    with pytest.raises(ValueError, match="versions 0-2, not -1"):
        THINGS.encode(THINGS(), -1)


def test_a_value_that_a_version_cannot_carry_is_refused_unless_ignorable() -> None:
    with pytest.raises(UnencodableMessage, match="Things v0: rank has a value but does not exist"):
        THINGS.encode(THINGS(rank=1), 0)
    assert THINGS.decode(THINGS.encode(THINGS(hint=1), 0), 0).hint == 0


def test_null_is_refused_where_the_version_does_not_allow_it() -> None:
    with pytest.raises(UnencodableMessage):
        THINGS.encode(THINGS(parts=None), 0)
    assert THINGS.decode(THINGS.encode(THINGS(parts=None), 1), 1).parts is None


def test_values_that_do_not_fit_are_refused_with_the_message_named() -> None:
    for wrong in (THINGS(rank=40000), THINGS(name=None), THINGS(name="x" * 40000), THINGS(name=b"x")):
        with pytest.raises(UnencodableMessage, match="Things v1"):
            THINGS.encode(wrong, 1)


def test_bytes_that_end_too_early_are_refused_with_the_message_named() -> None:
    data = THINGS.encode(THINGS(name="abc", parts=[THINGS.Part(id=3)]), 1)
    for length in range(len(data)):
        with pytest.raises(MalformedMessage, match="Things v1"):
            THINGS.decode(data[:length], 1)


def test_decoding_tells_where_the_struct_ended() -> None:
    data = THINGS.encode(THINGS(name="abc"), 2)
    assert THINGS.decode_from(b"??" + data + b"!!!", 2, 2) == (THINGS(name="abc"), 2 + len(data))


def test_a_message_parses_nothing_before_it_is_used() -> None:
    broken = Message("Broken", versions="0", fields="nonsense")
    with pytest.raises(SchemaError, match="has no type"):
        broken.root  # noqa: B018


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("a int32\n    b int32", "opens no struct"),
        ("a int32 nonsense", "unknown word"),
        ("a Thing", "has no fields"),
        ("a int32\na int32", "twice"),
        ("a int32 default=null", "not nullable"),
        ("a []int32 default=3", "cannot default"),
        ("a int32 4-2", "empty version range"),
    ],
)
def test_mistakes_in_a_schema_are_named(text: str, complaint: str) -> None:
    with pytest.raises(SchemaError, match=complaint):
        parse_fields("M", text)


def test_version_ranges() -> None:
    assert parse_versions("3") == (3, 3)
    assert parse_versions("1-4") == (1, 4)
    assert parse_versions("5+") == (5, 32767)
    with pytest.raises(SchemaError):
        parse_versions("x")
