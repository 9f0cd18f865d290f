"""ApiVersions, DescribeCluster, DescribeQuorum, UpdateFeatures: what a connection asks first, and about the cluster.

KAFKA: an unsupported version of ApiVersions is answered in version 0 with its own row alone (KIP-511); below version 4
features whose lowest level is 0 are left out (KAFKA-17011).
"""

from __future__ import annotations

from typing import Any

from cluster.handlers.context import Call, Context
from cluster.metadata.features import SUPPORTED
from pykafkacore.protocol.apis import API_VERSIONS_KEY, CONTROLLER
from pykafkacore.protocol.errors import ApiError, Code
from pykafkacore.protocol.schemas import core as schemas

BROKERS, CONTROLLERS = 1, 2
CLUSTER_OPERATIONS = 0b1_1111_1010_0000  # Create, Alter, Describe, ClusterAction, (Describe|Alter)Configs, IdempotentWrite


def is_software_name(text: str) -> bool:
    """Letters, digits, dots and dashes, the first and last of them a letter or digit."""
    inner = text.replace(".", "").replace("-", "")
    return bool(text) and text.isascii() and inner.isalnum() and text[0].isalnum() and text[-1].isalnum()


def unsupported_api_versions(ctx: Context, listener: str) -> bytes:
    """The answer to a version of ApiVersions that is not known, in version 0."""
    message = schemas.API_VERSIONS_RESPONSE
    own = [api for api in ctx.offered(listener) if api.key == API_VERSIONS_KEY]
    rows = [message.ApiVersion(api_key=api.key, min_version=api.oldest, max_version=api.latest_served()) for api in own]
    return message.encode(message(error_code=Code.UNSUPPORTED_VERSION, api_keys=rows), 0)


def api_versions(ctx: Context, call: Call) -> Any:
    message, request = schemas.API_VERSIONS_RESPONSE, call.request
    if call.api_version >= 3 and not (
        is_software_name(request.client_software_name) and is_software_name(request.client_software_version)
    ):
        return message(error_code=Code.INVALID_REQUEST)
    is_controller = call.listener in ctx.node.controller_listener_names
    if call.api_version >= 5:
        error = _wrong_node(ctx, request.cluster_id, request.node_id, is_controller)
        if error:
            return message(error_code=error)
    rows = [
        message.ApiVersion(
            api_key=api.key,
            min_version=api.oldest if is_controller else api.advertised_from,
            max_version=api.latest_served(),
        )
        for api in ctx.offered(call.listener)
    ]
    supported = [
        message.SupportedFeatureKey(name=name, min_version=low, max_version=high)
        for name, (low, high) in sorted(SUPPORTED.items())
        if low > 0 or call.api_version >= 4
    ]
    image = ctx.image
    finalized = [
        message.FinalizedFeatureKey(name=name, max_version_level=level, min_version_level=level)
        for name, level in sorted(ctx.finalized_features.items())
        if level > 0
    ]
    return message(
        api_keys=rows,
        supported_features=supported,
        finalized_features_epoch=image.offset - 1,
        finalized_features=finalized,
    )


def _wrong_node(ctx: Context, cluster_id: str | None, node_id: int, is_controller: bool) -> int:
    """KIP-1242: a client that knows whom it means to reach is told when this is somebody else.

    KAFKA: a controller only minds that both are told.
    """
    if cluster_id is None and node_id == -1:
        return 0
    if cluster_id is None or node_id == -1:
        return Code.INVALID_REQUEST
    if is_controller:
        return 0
    return 0 if (cluster_id, node_id) == (ctx.cluster_id, ctx.node.node_id) else Code.REBOOTSTRAP_REQUIRED


def describe_cluster(ctx: Context, call: Call) -> Any:
    message, request, image = schemas.DESCRIBE_CLUSTER_RESPONSE, call.request, ctx.image
    is_controller = call.listener in ctx.node.controller_listener_names
    here = CONTROLLERS if is_controller else BROKERS
    if request.endpoint_type != here:
        if request.endpoint_type not in (BROKERS, CONTROLLERS):
            raise ApiError(Code.UNSUPPORTED_ENDPOINT_TYPE, f"endpoint type {request.endpoint_type} is not known")
        raise ApiError(
            # KAFKA: version 0 cannot say which type it wants.
            Code.MISMATCHED_ENDPOINT_TYPE if call.api_version >= 1 else Code.INVALID_REQUEST,
            f"the request was sent to an endpoint of type {_type_name(here)}, "
            f"but we wanted an endpoint of type {_type_name(request.endpoint_type)}",
        )
    nodes: list[tuple[int, tuple[Any, ...], str | None, bool]]
    if is_controller:
        nodes = [(each.controller_id, each.listeners, None, False) for _, each in sorted(image.controllers.items())]
    else:
        nodes = [
            (each.broker_id, each.listeners, each.rack, each.is_fenced)
            for _, each in sorted(image.brokers.items())
            if not each.is_fenced or (call.api_version >= 2 and request.include_fenced_brokers)
        ]
    brokers = []
    for node_id, listeners, rack, is_fenced in nodes:
        for listener in listeners:
            if listener.name == call.listener:
                brokers.append(
                    message.DescribeClusterBroker(
                        broker_id=node_id, host=listener.host, port=listener.port, rack=rack, is_fenced=is_fenced
                    )
                )
    return message(
        endpoint_type=here,
        cluster_id=ctx.cluster_id,
        controller_id=ctx.node.node_id,
        brokers=brokers,
        cluster_authorized_operations=(
            CLUSTER_OPERATIONS if request.include_cluster_authorized_operations else -(2**31)
        ),
    )


def _type_name(endpoint_type: int) -> str:
    return {BROKERS: "BROKER", CONTROLLERS: CONTROLLER}.get(endpoint_type, str(endpoint_type))
