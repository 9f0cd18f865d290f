"""THE TABLE of APIs: ApiVersions, dispatch, forwarding, header flavours and the test matrix are all derived from it.

What it is: key, name, versions that Kafka 4.4 serves, first flexible version, listeners (B broker, C controller), the
schema module, and flags:
    fast             answered by the data plane from the view; everything else is an upcall to the control plane
    forwardable      a broker passes it to the active controller inside an Envelope
    cluster_action   needs CLUSTER_ACTION on the cluster (KAFKA: the mark it carries in 4.4, not the whole of the rules)
    advertised_from  KAFKA: lowest version told to clients on a broker listener. Produce says 0 though 0-2 are refused,
                     because librdkafka up to 2.x takes compression to be missing otherwise (KAFKA-18659)
    unstable_from    first version served only with unstable.api.versions.enable
What it is not: authorisation rules and handlers, which belong to the control plane.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pykafkacore.protocol.schema import Message

# key name versions flexible-from listeners schema-module flags
_TABLE = """
0   Produce                               3-13  9   B   produce_fetch fast advertised_from=0
1   Fetch                                 4-18  12  BC  produce_fetch fast
2   ListOffsets                           1-11  6   B   produce_fetch
3   Metadata                              0-13  9   B   core
4   LeaderAndIsr                          -     -   -   -             cluster_action
5   StopReplica                           -     -   -   -             cluster_action
6   UpdateMetadata                        -     -   -   -             cluster_action
7   ControlledShutdown                    -     -   -   -             cluster_action
8   OffsetCommit                          2-10  8   B   groups
9   OffsetFetch                           1-10  6   B   groups
10  FindCoordinator                       0-6   3   B   groups
11  JoinGroup                             0-9   6   B   groups
12  Heartbeat                             0-4   4   B   groups
13  LeaveGroup                            0-5   4   B   groups
14  SyncGroup                             0-5   4   B   groups
15  DescribeGroups                        0-6   5   B   groups
16  ListGroups                            0-5   3   B   groups
17  SaslHandshake                         0-1   -   BC  security
18  ApiVersions                           0-5   3   BC  core
19  CreateTopics                          2-7   5   BC  topics        forwardable
20  DeleteTopics                          1-6   4   BC  topics        forwardable
21  DeleteRecords                         0-2   2   B   topics
22  InitProducerId                        0-6   2   B   transactions  unstable_from=6
23  OffsetForLeaderEpoch                  2-4   4   B   produce_fetch
24  AddPartitionsToTxn                    0-5   3   B   transactions
25  AddOffsetsToTxn                       0-4   3   B   transactions
26  EndTxn                                0-5   3   B   transactions
27  WriteTxnMarkers                       1-2   1   B   transactions  cluster_action
28  TxnOffsetCommit                       0-6   3   B   transactions
29  DescribeAcls                          1-3   2   BC  acls
30  CreateAcls                            1-3   2   BC  acls          forwardable
31  DeleteAcls                            1-3   2   BC  acls          forwardable
32  DescribeConfigs                       1-4   4   BC  configs
33  AlterConfigs                          0-2   2   BC  configs       forwardable
34  AlterReplicaLogDirs                   1-2   2   B   brokers
35  DescribeLogDirs                       1-5   2   B   brokers
36  SaslAuthenticate                      0-2   2   BC  security
37  CreatePartitions                      0-3   2   BC  topics        forwardable
38  CreateDelegationToken                 1-3   2   BC  security      forwardable
39  RenewDelegationToken                  1-2   2   BC  security      forwardable
40  ExpireDelegationToken                 1-2   2   BC  security      forwardable
41  DescribeDelegationToken               1-3   2   BC  security
42  DeleteGroups                          0-3   2   B   groups
43  ElectLeaders                          0-2   2   BC  topics        forwardable
44  IncrementalAlterConfigs               0-1   1   BC  configs       forwardable
45  AlterPartitionReassignments           0-1   0   BC  topics        forwardable
46  ListPartitionReassignments            0-0   0   BC  topics        forwardable
47  OffsetDelete                          0-0   -   B   groups
48  DescribeClientQuotas                  0-1   1   B   quotas
49  AlterClientQuotas                     0-1   1   BC  quotas        forwardable
50  DescribeUserScramCredentials          0-0   0   BC  security
51  AlterUserScramCredentials             0-0   0   BC  security      forwardable
52  Vote                                  0-2   0   C   quorum        cluster_action
53  BeginQuorumEpoch                      0-1   1   C   quorum        cluster_action
54  EndQuorumEpoch                        0-1   1   C   quorum        cluster_action
55  DescribeQuorum                        0-2   0   BC  quorum        forwardable cluster_action
56  AlterPartition                        2-3   0   C   brokers       cluster_action
57  UpdateFeatures                        0-2   0   BC  core          forwardable cluster_action
58  Envelope                              0-0   0   C   brokers       cluster_action
59  FetchSnapshot                         0-1   0   C   quorum
60  DescribeCluster                       0-2   0   BC  core
61  DescribeProducers                     0-0   0   B   transactions
62  BrokerRegistration                    0-4   0   C   brokers       cluster_action
63  BrokerHeartbeat                       0-2   0   C   brokers       cluster_action
64  UnregisterBroker                      0-0   0   BC  brokers       forwardable
65  DescribeTransactions                  0-0   0   B   transactions
66  ListTransactions                      0-2   0   B   transactions
67  AllocateProducerIds                   0-0   0   C   transactions  forwardable cluster_action
68  ConsumerGroupHeartbeat                0-1   0   B   groups
69  ConsumerGroupDescribe                 0-1   0   B   groups
70  ControllerRegistration                0-0   0   C   brokers
71  GetTelemetrySubscriptions             0-0   0   B   telemetry
72  PushTelemetry                         0-0   0   B   telemetry
73  AssignReplicasToDirs                  0-0   0   C   brokers
74  ListConfigResources                   0-1   0   B   configs
75  DescribeTopicPartitions               0-0   0   B   topics
76  ShareGroupHeartbeat                   1-1   0   B   share
77  ShareGroupDescribe                    1-1   0   B   share
78  ShareFetch                            1-2   0   B   share
79  ShareAcknowledge                      1-2   0   B   share
80  AddRaftVoter                          0-1   0   BC  quorum        forwardable
81  RemoveRaftVoter                       0-0   0   BC  quorum        forwardable
82  UpdateRaftVoter                       0-0   0   C   quorum
83  InitializeShareGroupState             0-0   0   B   share         cluster_action
84  ReadShareGroupState                   0-0   0   B   share         cluster_action
85  WriteShareGroupState                  0-1   0   B   share         cluster_action
86  DeleteShareGroupState                 0-0   0   B   share         cluster_action
87  ReadShareGroupStateSummary            0-1   0   B   share         cluster_action
88  StreamsGroupHeartbeat                 0-1   0   B   streams
89  StreamsGroupDescribe                  0-1   0   B   streams
90  DescribeShareGroupOffsets             0-1   0   B   share
91  AlterShareGroupOffsets                0-0   0   B   share
92  DeleteShareGroupOffsets               0-0   0   B   share
93  StreamsGroupTopologyDescriptionUpdate 0-0   0   B   streams
94  UnregisterController                  0-0   0   BC  brokers       forwardable
"""

BROKER = "B"
CONTROLLER = "C"


class Api:
    """One row of the table. The two messages are imported when first asked for."""

    __slots__ = (
        "_request", "_response", "advertised_from", "cluster_action", "fast", "flexible_from", "forwardable", "key",
        "latest", "listeners", "module", "name", "oldest", "unstable_from",
    )  # fmt: skip

    def __init__(self, row: str) -> None:
        key, name, versions, flexible_from, listeners, module, *flags = row.split()
        self.key = int(key)
        self.name = name
        # Withdrawn APIs have the empty range 0..-1, so that no version is ever served.
        self.oldest, self.latest = (0, -1) if versions == "-" else map(int, versions.split("-"))
        self.flexible_from = 32768 if flexible_from == "-" else int(flexible_from)
        self.listeners = listeners
        self.module = module
        self.fast = "fast" in flags
        self.forwardable = "forwardable" in flags
        self.cluster_action = "cluster_action" in flags
        named = dict(flag.split("=") for flag in flags if "=" in flag)
        self.advertised_from = int(named.get("advertised_from", self.oldest))
        self.unstable_from = int(named.get("unstable_from", 32768))
        self._request: Message | None = None
        self._response: Message | None = None

    def __repr__(self) -> str:
        return f"<Api {self.key} {self.name} v{self.oldest}-{self.latest}>"

    @property
    def is_withdrawn(self) -> bool:
        return self.latest < 0

    @property
    def request(self) -> Message:
        if self._request is None:
            self._request = self._message("REQUEST")
        return self._request

    @property
    def response(self) -> Message:
        if self._response is None:
            self._response = self._message("RESPONSE")
        return self._response

    def _message(self, kind: str) -> Message:
        if self.is_withdrawn:
            raise LookupError(f"{self.name} was withdrawn from the protocol and has no schema")
        module = import_module(f"pykafkacore.protocol.schemas.{self.module}")
        message: Message = getattr(module, f"{constant_name(self.name)}_{kind}")
        return message

    def latest_served(self, unstable: bool = False) -> int:
        return self.latest if unstable else min(self.latest, self.unstable_from - 1)

    def serves(self, api_version: int, unstable: bool = False) -> bool:
        return self.oldest <= api_version <= self.latest_served(unstable)

    def is_flexible(self, api_version: int) -> bool:
        return api_version >= self.flexible_from

    def request_header_version(self, api_version: int) -> int:
        return 2 if api_version >= self.flexible_from else 1

    def response_header_version(self, api_version: int) -> int:
        # ApiVersions keeps the oldest header: its answer is read before anybody knows what the broker speaks.
        return 1 if api_version >= self.flexible_from and self.key != API_VERSIONS_KEY else 0


def constant_name(name: str) -> str:
    """`CreateTopics` as `CREATE_TOPICS`."""
    words = "".join(f"_{letter}" if letter.isupper() else letter for letter in name)
    return words.lstrip("_").upper()


API_VERSIONS_KEY = 18
METADATA_KEY = 3
APIS: tuple[Api, ...] = tuple(Api(row) for row in _TABLE.strip().splitlines())
BY_KEY: dict[int, Api] = {api.key: api for api in APIS}
BY_NAME: dict[str, Api] = {api.name: api for api in APIS}


def api(key_or_name: int | str) -> Api:
    """The row of a key or a name; KeyError when Kafka has none."""
    return BY_NAME[key_or_name] if isinstance(key_or_name, str) else BY_KEY[key_or_name]


def advertised(listener: str, unstable: bool = False) -> list[tuple[int, int, int]]:
    """(key, oldest, latest) of all that a listener of this kind tells its clients, in order of key."""
    return [
        (row.key, row.advertised_from if listener == BROKER else row.oldest, row.latest_served(unstable))
        for row in APIS
        if listener in row.listeners and not row.is_withdrawn
    ]
