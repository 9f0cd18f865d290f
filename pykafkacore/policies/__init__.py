"""What users may replace: policies that refuse new topics or changes of configs, named in the broker's file.

What it is: the shapes a policy has (Protocols), what it is told (frozen structs), how it says no
(PolicyViolation), and the loader of a dotted path.
What it is not: policies themselves; without one, everything that is valid is allowed.
Policies run on the active controller, once per topic or resource, before anything is written. They must answer at
once: the control plane waits for them.

    class AtLeastThreeReplicas:
        def configure(self, configs): ...
        def validate(self, request_metadata):
            if (request_metadata.replication_factor or 3) < 3:
                raise PolicyViolation("topics need three replicas")
        def close(self): ...

    create.topic.policy.class.name=mycompany.policies.AtLeastThreeReplicas
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any, Protocol, TypeVar, cast

from msgspec import Struct

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

Policy = TypeVar("Policy")


class PolicyViolation(Exception):
    """Raised by a policy to refuse; the message goes to the client with the error POLICY_VIOLATION."""


class PolicyLoadError(ValueError):
    """A dotted path that does not lead to a usable policy."""


class CreateTopicRequestMetadata(Struct, frozen=True):
    """A topic about to be created.

    Either `num_partitions` and `replication_factor` are given, or `replicas_assignments` (partition -> brokers) is;
    the other side is None. `configs` are the topic's own, as text.
    """

    topic: str
    num_partitions: int | None
    replication_factor: int | None
    replicas_assignments: Mapping[int, Sequence[int]] | None
    configs: Mapping[str, str]


class ConfigResource(Struct, frozen=True):
    """What configs belong to: `type` is topic, broker, group or client_metrics; a broker named "" stands for all."""

    type: str
    name: str


class AlterConfigRequestMetadata(Struct, frozen=True):
    """Configs about to be changed: their values afterwards, None for what is removed."""

    resource: ConfigResource
    configs: Mapping[str, str | None]


class CreateTopicPolicy(Protocol):
    """Asked before a topic is created (create.topic.policy.class.name)."""

    def configure(self, configs: Mapping[str, str]) -> None:
        """Called once, with the settings of the broker."""

    def validate(self, request_metadata: CreateTopicRequestMetadata) -> None:
        """Raise PolicyViolation to refuse."""

    def close(self) -> None:
        """Called once, at the end."""


class AlterConfigPolicy(Protocol):
    """Asked before configs are changed (alter.config.policy.class.name)."""

    def configure(self, configs: Mapping[str, str]) -> None:
        """Called once, with the settings of the broker."""

    def validate(self, request_metadata: AlterConfigRequestMetadata) -> None:
        """Raise PolicyViolation to refuse."""

    def close(self) -> None:
        """Called once, at the end."""


def load_policy(dotted_path: str, protocol: type[Policy]) -> Policy:
    """A new instance of the class at `dotted_path`, which must have the methods of `protocol`. Not yet configured."""
    module_name, separator, class_name = dotted_path.strip().replace(":", ".").rpartition(".")
    if not separator or not module_name or not class_name:
        raise PolicyLoadError(f"{dotted_path!r} is not a dotted path such as package.module.ClassName")
    try:
        module = import_module(module_name)
    except ImportError as error:
        hint = ""
        if module_name.startswith(("org.apache.", "com.", "io.")):
            hint = "; a Java class cannot be loaded: write the policy in Python"
        raise PolicyLoadError(f"{dotted_path!r}: module {module_name} cannot be imported ({error}){hint}") from error
    found: Any = getattr(module, class_name, None)
    if found is None:
        raise PolicyLoadError(f"{dotted_path!r}: module {module_name} has no {class_name}")
    if not isinstance(found, type):
        raise PolicyLoadError(f"{dotted_path!r} is not a class but {type(found).__name__}")
    missing = [name for name in _methods(protocol) if not callable(getattr(found, name, None))]
    if missing:
        raise PolicyLoadError(f"{dotted_path!r} is no {protocol.__name__}: it lacks {', '.join(missing)}")
    try:
        return cast("Policy", found())
    except Exception as error:
        problem = f"{dotted_path!r} cannot be created without arguments: {type(error).__name__}: {error}"
        raise PolicyLoadError(problem) from error


def _methods(protocol: type) -> list[str]:
    return [name for name, value in vars(protocol).items() if callable(value) and not name.startswith("_")]
