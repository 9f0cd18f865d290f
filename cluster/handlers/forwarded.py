"""What the active controller decides: passed on as it came. The answer leaves once the change is committed there and
published to this broker's own data plane, so that a client's next request finds what it just made.

KAFKA: 4.4 answers at commit, and clients retry until the broker has caught up; a deliberate difference.
"""

from __future__ import annotations

from typing import Any

from cluster.handlers.context import Call, Context


async def to_controller(ctx: Context, call: Call) -> Any:
    response = await ctx.controller.ask(call)
    await ctx.published(-1)
    return response


async def at_controller(ctx: Context, call: Call) -> Any:
    """On a controller's own listener: answered at commit."""
    return await ctx.controller.ask(call)


def describe_quorum(ctx: Context, call: Call) -> Any:
    return ctx.describe_quorum(call)


def of_quorum(ctx: Context, call: Call) -> Any:
    """Raft's own requests, from other nodes and from tools that change the voters."""
    return ctx.quorum_request(call)
