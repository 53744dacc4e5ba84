"""What a caller may call."""

from dataclasses import replace

from lakehouse.catalogue import Catalogue
from lakehouse.config import Config
from lakehouse.declare import Capability
from lakehouse.errors import Forbidden, NotFound
from lakehouse.observe import Call, Caller

OUTSIDE = ("mcp", "http")  # faces that others reach us through: modes, the steps of workflows, are not open to them


def bound(caller: Caller, settings: Config) -> Caller:
    """The caller with what this process' own settings close to everybody.

    Raises Forbidden for one that is bound to another profile.
    """
    if settings.server.profile:
        caller = choosing(caller, settings.server.profile)
    return replace(caller, read_only=True) if settings.server.read_only else caller


def inherited(caller: Caller, parent: Caller) -> Caller:
    """The caller of a call inside a call, with what is closed to whoever made that one.

    Raises Forbidden for one that is bound to another profile.
    """
    if parent.profile is not None:
        caller = choosing(caller, parent.profile)
    return replace(caller, read_only=True) if parent.read_only else caller


def choosing(caller: Caller, profile: str) -> Caller:
    """The caller bound to a profile. Raises Forbidden for one that is bound to another."""
    if caller.profile not in (None, profile):
        raise Forbidden(
            f"calls here are bound to profile {caller.profile!r}; they cannot choose another.",
            fix="Leave the profile out, or call with a token, a header or a --profile that is for the other one.",
        )
    return replace(caller, profile=profile)


def permit(catalogue: Catalogue, capability: Capability, call: Call) -> None:
    """Raises Forbidden for what is closed to whoever makes this call.

    Toolsets bind what is asked for from outside and every tool, not the other capabilities that those call in turn.
    """
    caller = call.caller
    if capability.effect != "reads" and caller.read_only:
        raise Forbidden(
            f"{capability.name} {capability.effect}; access here is read-only.",
            fix="Start the server without --read-only and server.read_only; over HTTP, use a token without read_only.",
        )
    if not caller.toolsets or (call.parent is not None and not capability.public):
        return
    toolsets = catalogue.toolsets_of(capability)
    if toolsets and not caller.toolsets.intersection(toolsets):
        raise Forbidden(
            f"{capability.name} is in none of the toolsets open to this token.",
            fix=f"Use a token with one of {', '.join(toolsets)}.",
        )


def refuse_steps(catalogue: Catalogue, capability: Capability, call: Call) -> None:
    """Raises NotFound for a mode that somebody outside asks for; what runs for them may use it."""
    if call.parent is None and call.caller.via in OUTSIDE and catalogue.is_step(capability):
        raise NotFound(
            f"{capability.name} is a mode, a step of workflows; it is not called by itself.",
            fix="Call a tool, or try it with `lakehouse call` on the machine itself.",
        )
