"""What a capability raised, as its caller is told it."""

from lakehouse.errors import LakehouseError


def known(failure: Exception) -> LakehouseError | None:
    """The failure as an error a caller can act on: itself, or the first of a task group that failed of nothing else."""
    if isinstance(failure, ExceptionGroup):
        found = [known(inner) for inner in failure.exceptions]
        return found[0] if None not in found else None
    return failure if isinstance(failure, LakehouseError) else None


def crashed(name: str, call: str) -> LakehouseError:
    """The error for what nobody foresaw: the caller sees only the id of the call, the log has the rest."""
    return LakehouseError(f"{name} failed (call {call}).", fix="The server's log has the details under this id.")
