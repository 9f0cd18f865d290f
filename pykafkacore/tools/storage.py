"""kafka-storage: format log directories, tell about them, make uuids, tell which features belong to which release.

What it is: Apache Kafka's StorageTool of 4.4: same commands, output, checks in the same order, exit code 1 on error.
What it is not: the files themselves (cluster/broker/storage.py). SCRAM credentials at format time are refused: not yet.
Sources: KIP-631, KIP-853, KIP-1022, KIP-1170, and Apache's tool for the text of its output.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

from pykafkacore.tools.common import CommandParser, ToolError, finish, java_hash_order

if TYPE_CHECKING:
    from argparse import Namespace
    from collections.abc import Sequence

    from cluster.broker.storage import Format
    from cluster.config.node import NodeSettings
    from cluster.raft.messages import Voter

PROGRAM = "kafka-storage"

METADATA_VERSION = "metadata.version"
KRAFT_VERSION = "kraft.version"
# Level -> name. The last one is known but not yet stable in 4.4.
METADATA_VERSIONS = {
    7: "3.3-IV3", 8: "3.4-IV0", 9: "3.5-IV0", 10: "3.5-IV1", 11: "3.5-IV2", 12: "3.6-IV0", 13: "3.6-IV1", 14: "3.6-IV2",
    15: "3.7-IV0", 16: "3.7-IV1", 17: "3.7-IV2", 18: "3.7-IV3", 19: "3.7-IV4", 20: "3.8-IV0", 21: "3.9-IV0",
    22: "4.0-IV0", 23: "4.0-IV1", 24: "4.0-IV2", 25: "4.0-IV3", 26: "4.1-IV0", 27: "4.1-IV1", 28: "4.2-IV0",
    29: "4.2-IV1", 30: "4.3-IV0", 31: "4.4-IV0", 32: "4.4-IV1", 33: "4.4-IV2", 34: "4.5-IV0",
}  # fmt: skip
LATEST_STABLE = 33
# Feature -> the metadata.version from which each level, counted from 1, is what a new cluster gets.
FEATURES = {
    KRAFT_VERSION: (21,),
    "transaction.version": (24, 24),
    "group.version": (22,),
    "eligible.leader.replicas.version": (26,),
    "share.version": (28, 31),
    "streams.version": (29,),
}
# Levels that may not be set below a metadata.version, whoever asks.
DEPENDENCIES = {("eligible.leader.replicas.version", 1): {METADATA_VERSION: 23}}


def main(arguments: Sequence[str] | None = None) -> NoReturn:
    finish(lambda: run(sys.argv[1:] if arguments is None else list(arguments)))


def run(arguments: list[str]) -> int:
    options = _parse(arguments)
    try:
        return _COMMANDS[options.command](options)
    except ToolError as error:
        print(error, file=sys.stderr)
        return 1


def _parse(arguments: list[str]) -> Namespace:
    parser = CommandParser(PROGRAM, "Prepares the log directories of a node and tells about them.")
    commands = parser.add_commands(*_COMMANDS)
    info = commands.add_parser("info", about="Tells what the log directories of this node hold.")
    info.add_argument("--config", "-c", required=True, help="server.properties of the node")
    form = commands.add_parser("format", about="Makes the log directories of this node ready for a cluster.")
    form.add_argument("--config", "-c", required=True, help="server.properties of the node")
    form.add_argument("--cluster-id", "-t", required=True, help="id of the cluster; see random-uuid")
    form.add_argument("--add-scram", "-S", action="append", help="not offered yet")
    form.add_argument("--ignore-formatted", "-g", action="store_true", help="leave formatted directories as they are")
    form.add_argument("--release-version", "-r", help="release whose feature levels the cluster begins with")
    form.add_argument("--feature", "-f", action="append", default=[], help="feature=level to begin with")
    quorum = form.add_mutually_exclusive_group()
    quorum.add_argument("--standalone", "-s", action="store_true", help="this controller is the only voter")
    quorum.add_argument("--no-initial-controllers", "-N", action="store_true", help="the voters are elsewhere")
    quorum.add_argument("--initial-controllers", "-I", help="voters: id@host:port:directory-id, separated by commas")
    mapping = commands.add_parser("version-mapping", about="Tells the feature levels of a release.")
    mapping.add_argument("--release-version", "-r", help="release; the latest stable one if not given")
    needs = commands.add_parser("feature-dependencies", about="Tells what feature levels need.")
    needs.add_argument("--feature", "-f", action="append", required=True, help="feature=level")
    commands.add_parser("random-uuid", about="Prints a random uuid.")
    return parser.parse_args(arguments)


# ---- features


def level_of_release(name: str) -> int:
    """The level of `3.9` or `3.9-IV0`; of a release the newest level in it."""
    for level in sorted(METADATA_VERSIONS, reverse=True):
        known = METADATA_VERSIONS[level]
        if known == name or (known.partition("-")[0] == name and level <= LATEST_STABLE):
            return level
    return -1


def default_level(feature: str, metadata_version: int) -> int:
    return sum(1 for needed in FEATURES[feature] if needed <= metadata_version)


def _release_level(name: str, with_unstable: bool) -> int:
    level = level_of_release(name)
    if level < 0 or (level > LATEST_STABLE and not with_unstable):
        shown = [known for at, known in METADATA_VERSIONS.items() if with_unstable or at <= LATEST_STABLE]
        raise ToolError(
            f"Unknown metadata.version '{name}'. Supported metadata.version are: {', '.join(shown)}"
        )
    return level


def parse_feature(text: str) -> tuple[str, int]:
    name, equals, level = text.partition("=")
    if not equals:
        raise ToolError(f"Can't parse feature=level string {text}: equals sign not found.")
    try:
        number = int(level)
    except ValueError:
        number = 1 << 16
    if not -(1 << 15) <= number < 1 << 15:
        raise ToolError(f"Can't parse feature=level string {text}: unable to parse {level} as a short.")
    return name.strip(), number


def choose_levels(release: str | None, features: Sequence[str]) -> dict[str, int]:
    """Every feature's level for a new cluster, kraft.version among them only when it was asked for."""
    asked = dict(parse_feature(text) for text in features)
    metadata_version = LATEST_STABLE
    if release is not None:
        if METADATA_VERSION in asked:
            raise ToolError("Use --release-version instead of --feature metadata.version=X to avoid ambiguity.")
        metadata_version = _release_level(release, False)
    elif METADATA_VERSION in asked:
        metadata_version = asked.pop(METADATA_VERSION)
        if metadata_version not in METADATA_VERSIONS:
            raise ToolError(
                f"No MetadataVersion with feature level {metadata_version}. "
                f"Valid feature levels are from {min(METADATA_VERSIONS)} to {max(METADATA_VERSIONS)}."
            )
        if metadata_version > LATEST_STABLE:
            raise ToolError(f"metadata.version {METADATA_VERSIONS[metadata_version]} is not yet stable.")
    for name, level in asked.items():
        if name not in FEATURES:
            supported = ", ".join(sorted(FEATURES))
            raise ToolError(f"Unsupported feature: {name}. Supported features are: {supported}")
        if not 0 <= level <= len(FEATURES[name]):
            raise ToolError(f"No feature:{name} with feature level {level}")
        for needed, at_least in DEPENDENCIES.get((name, level), {}).items():
            if metadata_version < at_least:
                raise ToolError(f"{name} could not be set to {level} because it depends on {needed} level {at_least}")
    levels = {name: default_level(name, metadata_version) for name in FEATURES if name != KRAFT_VERSION}
    return {METADATA_VERSION: metadata_version, **levels, **asked}


def _version_mapping(options: Namespace) -> int:
    latest = METADATA_VERSIONS[LATEST_STABLE]
    release = options.release_version or latest
    level = _release_level(release, True)
    print(f"metadata.version={level} ({release})")
    for name in FEATURES:
        print(f"{name}={default_level(name, level)}")
    return 0


def _feature_dependencies(options: Namespace) -> int:
    for text in options.feature:
        if "=" not in text:
            raise ToolError(
                f"Invalid feature format: {text}. Expected format: 'feature=version' (e.g. 'group.version=1')"
            )
        try:
            name, level = parse_feature(text)
        except ToolError:
            name, _, level_text = text.partition("=")
            raise ToolError(f"Invalid version format: {level_text} for feature {name}") from None
        shown = text
        if name == METADATA_VERSION:
            if level not in METADATA_VERSIONS:
                raise ToolError(f"Unknown metadata.version {level}")
            shown = f"{name}={level} ({METADATA_VERSIONS[level]})"
        elif name not in FEATURES:
            raise ToolError(f"Unknown feature: {name}")
        elif not 0 <= level <= len(FEATURES[name]):
            raise ToolError(f"Feature level {level} is not supported for feature {name}")
        needs = DEPENDENCIES.get((name, level), {})
        print(f"{shown} requires:" if needs else f"{shown} has no dependencies.")
        for needed, at_least in needs.items():
            print(f"    {needed}={at_least} ({METADATA_VERSIONS[at_least]})")
    return 0


# ---- directories


def _read_node(path: str) -> NodeSettings:
    from cluster.config.node import read_node
    from cluster.config.properties import PropertiesError
    from cluster.config.settings import ConfigErrors, load_static
    from cluster.config.values import ConfigError

    try:
        text = Path(path).read_text(encoding="utf-8")
        return read_node(load_static(text)[0])
    except OSError as error:
        raise ToolError(f"{path}: {error.strerror or error}") from None
    except ConfigErrors as errors:
        raise ToolError("\n".join(f"{path}: {one}" for one in errors.problems)) from None
    except (ConfigError, PropertiesError, UnicodeDecodeError) as error:
        raise ToolError(f"{path}: {error}") from None


def _directories(node: NodeSettings) -> list[str]:
    return sorted({*node.log_dirs, node.metadata_log_dir})


def _info(options: Namespace) -> int:
    from cluster.broker.storage import META_PROPERTIES, read_meta_properties
    from cluster.broker.storage import StorageError as DirectoryError
    from cluster.config.properties import parse_properties

    node = _read_node(options.config)
    found, problems, shown = [], [], None
    for directory in _directories(node):
        path = Path(directory)
        if not path.is_dir():
            problems.append(f"{directory} {'is not a directory' if path.exists() else 'does not exist'}")
            continue
        found.append(directory)
        try:
            meta = read_meta_properties(path)
        except (DirectoryError, OSError) as error:
            problems.append(str(error))
            continue
        if meta is None:
            problems.append(f"{directory} is not formatted.")
        elif shown is None:
            entries = parse_properties((path / META_PROPERTIES).read_text())
            shown = ", ".join(f"{key}={entries[key].value}" for key in sorted(entries))
    if found:
        print("Found log directory:" if len(found) == 1 else "Found log directories:")
        print("".join(f"  {directory}\n" for directory in found))
    if shown is not None:
        print(f"Found metadata: {{{shown}}}\n")
    if problems:
        print("Found problem:" if len(problems) == 1 else "Found problems:")
        print("".join(f"  {problem}\n" for problem in problems))
    return 1 if problems else 0


def parse_voters(text: str, listener_name: str) -> list[Voter]:
    """`id@host:port:directory-id`, separated by commas; they are reached on the listener of that name."""
    from cluster.raft.messages import Endpoint, ReplicaKey, Voter
    from pykafkacore.protocol.types import uuid_from_text

    found: list[Voter] = []
    for entry in (part.strip() for part in text.split(",")):
        node_id, at, rest = entry.partition("@")
        if not at:
            raise ToolError("No @ found in dynamic voter string.")
        host, bracket, tail = rest[1:].partition("]") if rest.startswith("[") else ("", "", rest)
        if not bracket:
            host, colon, tail = rest.partition(":")
            tail = colon + tail
        port, colon, directory_id = tail.removeprefix(":").partition(":")
        if not host or not tail.startswith(":"):
            raise ToolError("No colon following hostname could be found.")
        if not colon:
            raise ToolError("No colon following port could be found.")
        if not node_id.isdecimal():
            raise ToolError("Failed to parse node id in dynamic voter string.")
        if not port.isdecimal() or int(port) > 65535:
            raise ToolError("Failed to parse port in dynamic voter string.")
        try:
            key = ReplicaKey(int(node_id), uuid_from_text(directory_id))
        except ValueError:
            raise ToolError("Failed to parse directory ID in dynamic voter string.") from None
        if any(other.key.node_id == key.node_id for other in found):
            raise ToolError(f"Node id {key.node_id} was specified more than once.")
        found.append(Voter(key, (Endpoint(listener_name, host, int(port)),)))
    return found


def _check_quorum_options(options: Namespace, node: NodeSettings) -> None:
    if not node.is_controller:
        if options.standalone:
            raise ToolError("You can only use --standalone on a controller.")
        # KAFKA: --initial-controllers is taken on a broker, and gives it a snapshot as well.
        return
    if node.quorum_voters:
        if options.standalone or options.initial_controllers:
            raise ToolError(
                "You cannot specify controller.quorum.voters and format the node with --initial-controllers or "
                "--standalone. If you want to use dynamic quorum, please remove controller.quorum.voters and specify "
                "controller.quorum.bootstrap.servers instead."
            )
    elif not (options.standalone or options.initial_controllers or options.no_initial_controllers):
        raise ToolError(
            "Because controller.quorum.voters is not set on this controller, you must specify one of the following: "
            "--standalone, --initial-controllers, or --no-initial-controllers."
        )


def _plan(options: Namespace, node: NodeSettings, directory_ids: dict[str, bytes]) -> Format:
    from cluster.broker.storage import Format, standalone_voter

    levels = choose_levels(options.release_version, options.feature)
    kraft_version = levels.pop(KRAFT_VERSION, 0 if node.quorum_voters else 1)
    if kraft_version == 0 and not node.quorum_voters:
        raise ToolError(
            "Cannot set kraft.version to 0 if controller.quorum.voters is empty and one of the flags --standalone, "
            "--initial-controllers, or --no-initial-controllers is used. For dynamic controllers support, try removing "
            "the --feature flag for kraft.version."
        )
    if kraft_version == 1 and node.quorum_voters:
        raise ToolError(
            "Cannot set kraft.version to 1 while controller.quorum.voters is set: remove controller.quorum.voters and "
            "set controller.quorum.bootstrap.servers instead."
        )
    voters: tuple[Voter, ...] | None = None
    if options.standalone:
        endpoints = [(one.name, one.host, one.port) for one in node.advertised_controller_listeners]
        voters = (standalone_voter(node.node_id, directory_ids[node.metadata_log_dir], endpoints),)
    elif options.initial_controllers:
        voters = tuple(parse_voters(options.initial_controllers, node.controller_listener_names[0]))
        for voter in voters:
            if voter.key.node_id == node.node_id:
                # KAFKA: the directory takes the id that the list gives to this node.
                directory_ids[node.metadata_log_dir] = voter.key.directory_id
    return Format(
        cluster_id=options.cluster_id,
        node_id=node.node_id,
        directories=tuple(_directories(node)),
        metadata_directory=node.metadata_log_dir,
        voters=voters,
        levels=levels,
        kraft_version=kraft_version,
        has_snapshot=node.is_controller or voters is not None,
    )


def _formatted(options: Namespace, node: NodeSettings) -> set[str]:
    """Directories that are formatted already, for this node and cluster, or ToolError."""
    from cluster.broker.storage import META_PROPERTIES, StorageError, read_meta_properties

    found = set()
    for directory in _directories(node):
        try:
            meta = read_meta_properties(Path(directory))
        except (StorageError, OSError) as error:
            raise ToolError(str(error)) from None
        if meta is None:
            continue
        path = f"{directory}/{META_PROPERTIES}"
        if meta.cluster_id != options.cluster_id:
            raise ToolError(
                f"Invalid cluster.id in: {path}. Expected {options.cluster_id}, but read {meta.cluster_id}"
            )
        if meta.node_id != node.node_id:
            raise ToolError(
                f"Stored node id {meta.node_id} doesn't match previous node id {node.node_id} in {path}. If you moved "
                "your data, make sure your configured node id matches. If you intend to create a new node, you should "
                "remove all data in your data directories."
            )
        found.add(directory)
    return found


def _format(options: Namespace) -> int:
    from time import time_ns

    from cluster.broker.storage import StorageError, format_directories, random_uuid

    node = _read_node(options.config)
    _check_quorum_options(options, node)
    if options.add_scram:
        raise ToolError("--add-scram is not offered yet: this broker has no SCRAM authentication so far")
    if not options.cluster_id.strip():
        raise ToolError("--cluster-id is empty: make one with kafka-storage random-uuid")
    directory_ids = {directory: random_uuid() for directory in _directories(node)}
    wanted = _plan(options, node, directory_ids)
    formatted = _formatted(options, node)
    if formatted and not options.ignore_formatted:
        raise ToolError(  # KAFKA: 4.4 names one of them, which one is a matter of the JDK's version
            f"Log directory {min(formatted)} is already formatted. "
            "Use --ignore-formatted to ignore this directory and format the others."
        )
    if formatted == set(wanted.directories):
        print("All of the log directories are already formatted.")
        return 0
    print(_bootstrap_text(wanted.levels or {}))
    release = METADATA_VERSIONS[(wanted.levels or {})[METADATA_VERSION]]
    metadata_kind = "metadata directory"
    if wanted.voters is not None:
        is_voter = any(voter.key.node_id == node.node_id for voter in wanted.voters)
        metadata_kind = "dynamic metadata voter directory" if is_voter else "dynamic metadata directory"
    try:
        done = format_directories(wanted, directory_ids, time_ns() // 1_000_000)
    except (StorageError, OSError) as error:
        raise ToolError(str(error)) from None
    for directory in java_hash_order(sorted(done)):
        kind = metadata_kind if directory == wanted.metadata_directory else "data directory"
        print(f"Formatting {kind} {directory} with metadata.version {release}.")
    return 0


def _bootstrap_text(levels: dict[str, int]) -> str:
    """The first line of Apache's output: the records that the cluster begins with."""
    others = [name for name in sorted(levels) if name != METADATA_VERSION and levels[name] > 0]
    records = ", ".join(
        f"ApiMessageAndVersion(FeatureLevelRecord(name='{name}', featureLevel={levels[name]}) at version 0)"
        for name in [METADATA_VERSION, *others]
    )
    level = levels[METADATA_VERSION]
    return (
        f"Bootstrap metadata: BootstrapMetadata(records=[{records}], metadataVersionLevel={level}, "
        "source=format command)"
    )


def _random_uuid(options: Namespace) -> int:
    from cluster.broker.storage import random_uuid
    from pykafkacore.protocol.types import uuid_to_text

    print(uuid_to_text(random_uuid()))
    return 0


_COMMANDS = {
    "info": _info,
    "format": _format,
    "version-mapping": _version_mapping,
    "feature-dependencies": _feature_dependencies,
    "random-uuid": _random_uuid,
}
