"""The table of differences, its prose and the cases agree with each other. No broker is needed for that."""

from __future__ import annotations

from collections import defaultdict
from pathlib import Path

import pytest

from cluster.handlers.dispatch import BROKER_HANDLERS
from pykafkacore.protocol.apis import api
from tests.compat.parity.cases import GOOD, SPECIAL, cases_of, framing, last
from tests.compat.parity.differences import DIFFERENCES, ON_CONTROLLER, render
from tests.compat.parity.hostile import body_of, mutations
from tests.compat.parity.recorder import Site

DOCUMENT = Path(__file__).parents[3] / "docs" / "DIFFERENCES.md"
BEGIN, END = "<!-- differences: begin -->\n", "<!-- differences: end -->\n"


def site() -> Site:
    return Site("nowhere", 0, topic_ids=defaultdict(lambda: bytes(15) + b"\7"))


def test_the_document_says_what_the_table_says() -> None:
    text = DOCUMENT.read_text()
    told = text[text.index(BEGIN) + len(BEGIN) : text.index(END)].strip()
    assert told == render().strip(), (
        "run `python -m tests.compat.parity.differences` and put its words into the document"
    )


def test_every_difference_names_an_api_that_is_compared() -> None:
    assert {row.api.removeprefix(ON_CONTROLLER) for row in DIFFERENCES} <= {*BROKER_HANDLERS, "*", "Framing", "Last"}


def test_no_difference_is_listed_twice() -> None:
    assert len({(row.api, row.case, row.field, row.ours, row.theirs) for row in DIFFERENCES}) == len(DIFFERENCES)


def test_a_difference_covers_its_own_pattern_only() -> None:
    row = DIFFERENCES[0]
    assert row.covers("Fetch", "spoilt: rack_id of length -2", "answer", "closed", "NONE")
    assert not row.covers("Fetch", "spoilt: rack_id null", "answer", "closed", "NONE")
    assert not row.covers("Fetch", "spoilt: rack_id of length -2", "answer", "silent", "NONE")


@pytest.mark.parametrize("name", sorted({*GOOD, *SPECIAL}))
def test_good_requests_are_written_as_the_codec_writes_them(name: str) -> None:
    row = api(name)
    for version in range(row.oldest, row.latest_served() + 1):
        for told, tree in GOOD[name](version).items():
            data = body_of(name, version, tree, site()) if "answers" not in told else b""
            assert row.request.encode(row.request.decode(data, version), version) == data, (version, told)


def test_a_mutation_changes_one_thing_at_one_place() -> None:
    tree = GOOD["Metadata"](12)["one topic"]
    told = [what for what, _ in mutations("Metadata", 12, tree)]
    assert len(told) == len(set(told))
    assert {"topics empty", "topics null", "topics twice", "topics.name null", "topics.topic_id unknown"} <= set(told)
    good = body_of("Metadata", 12, tree, site())
    same = [
        told for told, changed in mutations("Metadata", 12, tree) if body_of("Metadata", 12, changed, site()) == good
    ]
    assert same == []


def test_the_names_of_cases_are_unique_within_an_api_and_version() -> None:
    for name in BROKER_HANDLERS:
        row = api(name)
        cases = [(case.name, case.version) for case in cases_of(name, row.oldest, row.latest_served())]
        assert len(cases) == len(set(cases)), name
    assert len({case.name for case in framing()}) == len(list(framing()))
    assert list(last())
