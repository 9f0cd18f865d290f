"""Every API that we offer, in every version: the same requests to Apache Kafka and to ours, answered alike."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

import pytest

from cluster.handlers.dispatch import BROKER_HANDLERS
from pykafkacore.protocol.apis import CONTROLLER, api
from pykafkacore.testing import Broker
from tests.compat.parity.cases import PREPARATIONS, TOPIC_CONFIGS, TOPICS, cases_of
from tests.compat.parity.differences import DIFFERENCES, ON_CONTROLLER
from tests.compat.parity.normalise import codes_of, differences, tree_of
from tests.compat.parity.recorder import Case, Site
from tests.support import apache
from tests.support.apache import ApacheKafka

pytestmark = [pytest.mark.oracle, pytest.mark.skipif(apache.missing() is not None, reason=str(apache.missing()))]

# Of the controllers' own listener only what changes no quorum: requests of Raft, made up, would depose the leader.
CONTROLLER_APIS = (
    "ApiVersions", "CreateTopics", "DeleteTopics", "CreatePartitions", "AlterConfigs", "IncrementalAlterConfigs",
    "DescribeQuorum", "UpdateFeatures", "DescribeCluster", "UnregisterBroker", "AlterPartitionReassignments",
    "ListPartitionReassignments",
)  # fmt: skip
COMPARISONS = ["Framing", *BROKER_HANDLERS, *(ON_CONTROLLER + name for name in CONTROLLER_APIS), "Last"]
COMPARED: set[str] = set()
USED: Counter[int] = Counter()
SETTINGS = {
    "offsets.topic.num.partitions": "2",
    "transaction.state.log.num.partitions": "2",
    "share.coordinator.state.topic.num.partitions": "2",
    "share.coordinator.state.topic.replication.factor": "1",
    "share.coordinator.state.topic.min.isr": "1",
    "metadata.log.max.snapshot.interval.ms": "3600000",
}


@pytest.fixture(scope="module")
def sites(tmp_path_factory):
    theirs = ApacheKafka(tmp_path_factory.mktemp("apache"), **{k.replace(".", "_"): v for k, v in SETTINGS.items()})
    theirs.format()
    with Broker(SETTINGS) as ours, theirs:
        pair = Site("ours", ours.port), Site("Apache Kafka", theirs.port, is_oracle=True)
        for site in pair:
            site.create(TOPICS, TOPIC_CONFIGS)
            for prepare in PREPARATIONS:
                prepare(site)
        controllers = [ours.node.bound["CONTROLLER"], theirs.controller_port]
        yield (
            pair,
            tuple(replace(site, port=port, kind=CONTROLLER) for site, port in zip(pair, controllers, strict=True)),
        )


def versions_of(sites: tuple[Site, Site]) -> dict[int, tuple[int, int]]:
    """What both advertise."""
    told = [
        {
            row.api_key: row
            for row in site.ask(
                "ApiVersions", 4, {"client_software_name": "parity", "client_software_version": "1"}
            ).api_keys
        }
        for site in sites
    ]
    ours, theirs = told
    return {
        key: (max(row.min_version, theirs[key].min_version), min(row.max_version, theirs[key].max_version))
        for key, row in ours.items()
        if key in theirs
    }


@pytest.mark.parametrize("comparison", COMPARISONS)
def test_both_answer_alike(comparison: str, sites: tuple[tuple[Site, Site], tuple[Site, Site]]) -> None:
    api_name = comparison.removeprefix(ON_CONTROLLER)
    pair = sites[0 if api_name == comparison else 1]
    versions = (0, 0) if api_name in ("Framing", "Last") else versions_of(pair)[api(api_name).key]
    used: Counter[int] = Counter()
    unlisted: dict[tuple[str, str, str], dict[str, list[int]]] = {}
    for number, case in enumerate(cases_of(api_name, *versions)):
        for field, ours, theirs in compare(case, f"{api_name}-{number}", pair):
            at = [i for i, row in enumerate(DIFFERENCES) if row.covers(comparison, case.name, field, ours, theirs)]
            used.update(at[:1])
            if not at:
                unlisted.setdefault((field, ours, theirs), {}).setdefault(case.name, []).append(case.version)
    words = []
    for (field, ours, theirs), names in unlisted.items():
        words.append(f"{field}: ours {ours:.300}, theirs {theirs:.300}")
        words += [f"    {name} (v{min(where)}-{max(where)}, {len(where)})" for name, where in names.items()]
    COMPARED.add(comparison)
    USED.update(used)
    gone = [
        f"no case shows any more: {row}" for i, row in enumerate(DIFFERENCES) if row.api == comparison and not used[i]
    ]
    assert not words + gone, "\n" + "\n".join(words + gone)


def test_what_is_listed_for_every_api_still_occurs() -> None:
    if set(COMPARISONS) != COMPARED:
        pytest.skip("not every API was compared in this run")
    assert [row for i, row in enumerate(DIFFERENCES) if not USED[i]] == []


def compare(case: Case, label: str, sites: tuple[Site, Site]) -> list[tuple[str, str, str]]:
    ours, theirs = (site.run(case, label) for site in sites)
    found = []
    steps = [step for step in case.steps if not step.is_one_way]
    for step, one, other in zip(steps, ours, theirs, strict=False):
        trees = [
            {"answer": told}
            if isinstance(told, str)
            else {"answer": "given"} | tree_of(site, step.api_name, step.version, told)
            for site, told in ((sites[0], one), (sites[1], other))
        ]
        if trees[0]["answer"] != trees[1]["answer"]:
            found.append(
                ("answer", *(codes_of(tree) if tree["answer"] == "given" else tree["answer"] for tree in trees))
            )
        else:
            found += differences("", *trees)
    return found
