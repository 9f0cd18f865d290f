from __future__ import annotations

import pytest

from pykafkacore.policies import (
    AlterConfigPolicy,
    AlterConfigRequestMetadata,
    ConfigResource,
    CreateTopicPolicy,
    CreateTopicRequestMetadata,
    PolicyLoadError,
    PolicyViolation,
    load_policy,
)

NOT_A_CLASS = 5


class AtMostTenPartitions:
    limit = 10

    def configure(self, configs: dict[str, str]) -> None:
        self.limit = int(configs.get("limit", self.limit))

    def validate(self, request_metadata: CreateTopicRequestMetadata) -> None:
        if (request_metadata.num_partitions or 0) > self.limit:
            raise PolicyViolation(f"at most {self.limit} partitions")

    def close(self) -> None:
        self.limit = -1


class WithoutClose:
    def configure(self, configs: dict[str, str]) -> None: ...

    def validate(self, request_metadata: object) -> None: ...


class NeedsArguments(AtMostTenPartitions):
    def __init__(self, wanted: int) -> None: ...


def request(partitions: int) -> CreateTopicRequestMetadata:
    return CreateTopicRequestMetadata("t", partitions, 1, None, {})


@pytest.mark.parametrize("separator", [".", ":"])
def test_a_policy_is_loaded_by_its_dotted_path_and_does_its_work(separator: str) -> None:
    policy = load_policy(f"{__name__}{separator}AtMostTenPartitions", CreateTopicPolicy)
    policy.configure({"limit": "3"})
    policy.validate(request(3))
    with pytest.raises(PolicyViolation, match="at most 3 partitions"):
        policy.validate(request(4))
    policy.close()


@pytest.mark.parametrize(
    ("path", "problem"),
    [
        ("", "not a dotted path"),
        ("Policy", "not a dotted path"),
        (".Policy", "not a dotted path"),
        ("no.such.module.Policy", "cannot be imported"),
        ("org.apache.kafka.Policy", "a Java class cannot be loaded"),
        (f"{__name__}.Nope", "has no Nope"),
        (f"{__name__}.NOT_A_CLASS", "is not a class but int"),
        (f"{__name__}.WithoutClose", "is no AlterConfigPolicy: it lacks close"),
        (f"{__name__}.NeedsArguments", "cannot be created without arguments: TypeError"),
    ],
)
def test_a_path_that_leads_to_no_policy_is_refused_with_the_reason(path: str, problem: str) -> None:
    with pytest.raises(PolicyLoadError, match=problem):
        load_policy(path, AlterConfigPolicy)


def test_what_policies_are_told_cannot_be_changed() -> None:
    told = AlterConfigRequestMetadata(ConfigResource("topic", "t"), {"retention.ms": None})
    with pytest.raises(AttributeError):
        told.resource = ConfigResource("topic", "u")  # type: ignore[misc]
