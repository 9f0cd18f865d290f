"""Java's .properties format: what server.properties and meta.properties are written in.

What it is: a parser that gives every key its value and the line it stood on, and the reverse for one entry.
What it is not: knowledge of keys; that `a` given twice means the last one is Java's rule, not ours.
Sources: the format as java.util.Properties reads it (escapes, continuations, three separators).
"""

from __future__ import annotations

from msgspec import Struct

_WHITESPACE = " \t\f"
_ESCAPES = {"t": "\t", "n": "\n", "r": "\r", "f": "\f"}


class PropertiesError(ValueError):
    """Text that is not a properties file; names the line."""


class Property(Struct, frozen=True):
    """A value and the line, counted from one, on which its key stands."""

    value: str
    line: int


def parse_properties(text: str) -> dict[str, Property]:
    """All entries; a key given twice keeps its last value, as in Java."""
    found: dict[str, Property] = {}
    for number, line in _logical_lines(text):
        key_end = _end_of_key(line)
        value_start = key_end
        while value_start < len(line) and line[value_start] in _WHITESPACE:
            value_start += 1
        if value_start < len(line) and line[value_start] in "=:":
            value_start += 1
            while value_start < len(line) and line[value_start] in _WHITESPACE:
                value_start += 1
        found[_unescape(line[:key_end], number)] = Property(_unescape(line[value_start:], number), number)
    return found


def format_property(key: str, value: str) -> str:
    """One line that parse_properties reads back as this key and value."""
    return f"{_escape(key, is_key=True)}={_escape(value, is_key=False)}"


def _logical_lines(text: str) -> list[tuple[int, str]]:
    """Lines with continuations joined, without comments and blank lines; each with its number."""
    lines = text.replace("\r\n", "\n").replace("\r", "\n").split("\n")
    joined: list[tuple[int, str]] = []
    position = 0
    while position < len(lines):
        number, line = position + 1, lines[position].lstrip(_WHITESPACE)
        position += 1
        if not line or line[0] in "#!":
            continue
        while _ends_in_odd_backslashes(line):
            line = line[:-1]
            if position == len(lines):
                break
            line += lines[position].lstrip(_WHITESPACE)
            position += 1
        joined.append((number, line))
    return joined


def _ends_in_odd_backslashes(line: str) -> bool:
    return (len(line) - len(line.rstrip("\\"))) % 2 == 1


def _end_of_key(line: str) -> int:
    position = 0
    while position < len(line):
        if line[position] == "\\":
            position += 2
            continue
        if line[position] in _WHITESPACE or line[position] in "=:":
            break
        position += 1
    return min(position, len(line))


def _unescape(text: str, line: int) -> str:
    if "\\" not in text:
        return text
    out: list[str] = []
    position = 0
    while position < len(text):
        letter = text[position]
        position += 1
        if letter != "\\" or position == len(text):
            if letter != "\\":
                out.append(letter)
            continue
        letter = text[position]
        position += 1
        if letter == "u":
            digits = text[position : position + 4]
            if len(digits) != 4 or any(digit not in "0123456789abcdefABCDEF" for digit in digits):
                raise PropertiesError(f"line {line}: \\u{digits} is not a character: write four hexadecimal digits")
            out.append(chr(int(digits, 16)))
            position += 4
        else:
            out.append(_ESCAPES.get(letter, letter))
    # Characters beyond the first plane are written as two halves.
    return "".join(out).encode("utf-16", "surrogatepass").decode("utf-16", "replace")


def _escape(text: str, is_key: bool) -> str:
    out = []
    for position, letter in enumerate(text):
        if letter == "\\" or (is_key and letter in "=: ") or (position == 0 and letter in " #!"):
            out.append("\\" + letter)
        elif letter in "\t\n\r\f":
            out.append({"\t": "\\t", "\n": "\\n", "\r": "\\r", "\f": "\\f"}[letter])
        else:
            out.append(letter)
    return "".join(out)
