"""Text of a config as a value, and back: parsing by type, then the bounds of the table.

What it is: one function in each direction, and one error that names key, value and what would be right.
What it is not: relations between keys; those are in settings.py and node.py.
KAFKA: values are trimmed; booleans do not mind capitals; lists lose duplicates but may not hold empty elements, except
throttled replicas, which are kept as they are; `+5` is a number, `1_000` and `1e3` are not whole numbers.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from cluster.config.definitions import REQUIRED

if TYPE_CHECKING:
    from cluster.config.definitions import Definition

Value = bool | int | float | str | list[str] | None

_WHOLE = {"short": 2**15, "int": 2**31, "long": 2**63}


class ConfigError(ValueError):
    """A key whose value cannot stand. `problem` completes the sentence `key K: value V ...`."""

    def __init__(self, key: str, value: str | None, problem: str, line: int | None = None) -> None:
        self.key = key
        self.value = value
        self.problem = problem
        self.line = line
        super().__init__(self.message)

    @property
    def message(self) -> str:
        where = f"line {self.line}: " if self.line is not None else ""
        shown = "null" if self.value is None else self.value or "(empty)"
        return f"{where}key {self.key}: value {shown} {self.problem}"


def parse(definition: Definition, text: str | None) -> Value:
    """The value that `text` stands for, or ConfigError. Null is a value of keys whose default is null."""
    if text is None:
        if definition.default is None or (definition.valid == "" and definition.default != REQUIRED):
            return None
        raise ConfigError(definition.name, None, "is not allowed: this key always has a value")
    value = _parse_type(definition, text.strip() if definition.type != "password" else text)
    _check(definition, value, text)
    return value


def default_value(definition: Definition) -> Value:
    """The default as a value; a key without one must be given."""
    if definition.default == REQUIRED:
        raise ConfigError(definition.name, None, "is missing: this key has no default and must be given")
    return parse(definition, definition.default)


def to_text(value: Value) -> str | None:
    """The canonical text of a value, as DescribeConfigs shows it."""
    if value is None or isinstance(value, str):
        return value
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, list):
        return ",".join(value)
    if isinstance(value, float):
        return _double_text(value)
    return str(value)


def _parse_type(definition: Definition, text: str) -> Value:
    kind = definition.type
    if kind in _WHOLE:
        digits = text[1:] if text[:1] in ("+", "-") else text
        if not (digits.isascii() and digits.isdigit()):
            raise ConfigError(definition.name, text, "is not a whole number")
        # Checked before conversion: a number of a million digits would take its time.
        bound = _WHOLE[kind]
        digits = digits.lstrip("0") or "0"
        number = 2**64 if len(digits) > 19 else int(digits)
        number = -number if text[0] == "-" else number
        if not -bound <= number < bound:
            raise ConfigError(definition.name, text, f"is not in [{-bound}..{bound - 1}], the bounds of a {kind}")
        return number
    if kind == "boolean":
        lowered = text.lower()
        if lowered not in ("true", "false"):
            raise ConfigError(definition.name, text, "is neither true nor false")
        return lowered == "true"
    if kind == "double":
        return _parse_double(definition, text)
    if kind == "list":
        return _parse_list(definition, text)
    return text


def _parse_double(definition: Definition, text: str) -> float:
    bare = text[:-1] if text[-1:] in "fFdD" and text[:-1] else text
    try:
        if "_" in bare or not bare.isascii():
            raise ValueError
        value = float(bare)
    except ValueError:
        raise ConfigError(definition.name, text, "is not a number") from None
    if value != value:
        raise ConfigError(definition.name, text, "is not a number")
    return value


def _parse_list(definition: Definition, text: str) -> list[str]:
    if not text:
        return []
    items = [item.strip() for item in text.split(",")]
    if definition.valid == "replicas":
        return items
    if "" in items:
        raise ConfigError(definition.name, text, "has an empty element: remove the surplus comma")
    return list(dict.fromkeys(items))


def _check(definition: Definition, value: Value, text: str) -> None:
    valid = definition.valid
    if not valid:
        return
    bounds = definition.bounds
    if bounds is not None:
        _check_bounds(definition, bounds, value, text)
    elif valid.startswith(("one-of:", "nocase:")):
        _check_choice(definition, str(value), text, ignore_case=valid.startswith("nocase:"))
    elif isinstance(value, list):
        if not value and valid.startswith("some"):
            raise ConfigError(definition.name, text, "is an empty list: give at least one element")
        for item in value if definition.choices else ():
            _check_choice(definition, item, text, ignore_case=False)
        if valid in _FORMS:
            _FORMS[valid](definition, value, text)
    elif valid == "not-empty" and not value:
        raise ConfigError(definition.name, text, "may not be empty")
    elif valid == "offset-reset":
        _check_offset_reset(definition, str(value), text)


def _check_bounds(definition: Definition, bounds: tuple[str, str, str], value: Any, text: str) -> None:
    low, high, besides = bounds
    if besides and value == int(besides):
        return
    if (low and value < float(low)) or (high and value > float(high)):
        alternative = f" and is not {besides}" if besides else ""
        raise ConfigError(definition.name, text, f"is not in [{low}..{high}]{alternative}")


def _check_choice(definition: Definition, item: str, text: str, ignore_case: bool) -> None:
    choices = definition.choices
    if item in choices or (ignore_case and item.upper() in (choice.upper() for choice in choices)):
        return
    what = "is" if definition.type != "list" else f"holds {item}, which is"
    raise ConfigError(definition.name, text, f"{what} not one of {', '.join(choices)}")


def _check_replicas(definition: Definition, items: list[str], text: str) -> None:
    if items == ["*"]:
        return
    for item in items:
        partition, colon, broker = item.partition(":")
        if not (colon and _is_number(partition) and _is_number(broker)):
            raise ConfigError(
                definition.name, text, "is neither * nor a list of partition:broker pairs such as 0:1,1:2"
            )


def _check_addresses(definition: Definition, items: list[str], text: str) -> None:
    for item in items:
        try:
            parse_address(item)
        except ValueError as error:
            raise ConfigError(definition.name, text, f"holds {item}, which {error}") from None


def _check_voters(definition: Definition, items: list[str], text: str) -> None:
    for item in items:
        node_id, at, address = item.partition("@")
        try:
            if not at or not _is_number(node_id) or int(node_id) >= 2**31:
                raise ValueError("does not start with a node id and @")
            parse_address(address)
        except ValueError as error:
            raise ConfigError(definition.name, text, f"holds {item}, which {error}: write id@host:port") from None


def _check_offset_reset(definition: Definition, value: str, text: str) -> None:
    if value in ("latest", "earliest"):
        return
    if value.startswith("by_duration:") and parse_duration_ms(value[len("by_duration:") :]) is not None:
        return
    raise ConfigError(
        definition.name, text, "is not latest, earliest, or by_duration: and a duration such as PT1H or P2DT3H4M"
    )


def _is_number(text: str) -> bool:
    return text.isascii() and text.isdigit() and len(text) <= 10


def parse_address(text: str) -> tuple[str, int]:
    """host:port, the host of IPv6 in brackets. The ValueError completes `... which`."""
    host, colon, port = text.rpartition(":")
    if not colon or not _is_number(port) or not 0 <= int(port) <= 65535:
        raise ValueError("does not end in : and a port in [0..65535]")
    if host.startswith("[") and host.endswith("]"):
        host = host[1:-1]
    elif ":" in host:
        raise ValueError("has an IPv6 host without brackets")
    if not host:
        raise ValueError("has no host")
    return host, int(port)


def parse_duration_ms(text: str) -> int | None:
    """Milliseconds of an ISO 8601 duration of days, hours, minutes and seconds; None when it is none or negative."""
    if text[:1] != "P" or len(text) > 40:
        return None
    total, units, number, in_time, any_unit = 0.0, "D", "", False, False
    for letter in text[1:]:
        if letter.isascii() and (letter.isdigit() or letter == "."):
            number += letter
        elif letter == "T" and not in_time and not number:
            in_time, units = True, "HMS"
        elif letter in units and number.replace(".", "", 1).isdigit() and ("." not in number or letter == "S"):
            units = units[units.index(letter) + 1 :]
            total += float(number) * {"D": 86_400_000, "H": 3_600_000, "M": 60_000, "S": 1000}[letter]
            number, any_unit = "", True
        else:
            return None
    if number or not any_unit or text.endswith("T"):
        return None
    return int(total)


_FORMS = {"replicas": _check_replicas, "addresses": _check_addresses, "voters": _check_voters}


def _double_text(value: float) -> str:
    """As Java prints a double: always a fraction, E outside of 1e-3 to 1e7."""
    magnitude = abs(value)
    if magnitude == float("inf"):
        return "Infinity" if value > 0 else "-Infinity"
    if magnitude != 0 and not 1e-3 <= magnitude < 1e7:
        digits, exponent = repr(value).split("e") if "e" in repr(value) else _scientific(value)
        digits = digits if "." in digits else digits + ".0"
        return f"{digits}E{int(exponent)}"
    return repr(float(value))


def _scientific(value: float) -> tuple[str, str]:
    """The shortest digits of a number that Python prints without an exponent, with one."""
    sign = "-" if value < 0 else ""
    whole, _, fraction = repr(abs(value)).partition(".")
    digits = (whole + fraction).lstrip("0")
    exponent = len(whole.lstrip("0")) - 1 if whole.strip("0") else -(len(fraction) - len(fraction.lstrip("0"))) - 1
    digits = digits.rstrip("0") or "0"
    return f"{sign}{digits[0]}.{digits[1:] or '0'}", str(exponent)
