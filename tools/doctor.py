"""The state of the installation."""

from lakehouse import Lakehouse, tool
from lakehouse.engine.doctor import Report, examine


@tool(name="doctor", route="GET /v1/doctor", toolset="core admin", title="Check the installation")
async def run(lake: Lakehouse) -> Report:
    """Check packages, settings, storage, disk space, the embedding model and plugins; each failure comes with its fix.

    Use it when other tools fail for reasons that are not in your request.
    """
    lake.check_unbound()
    skipped = [(plugin.origin, plugin.reason) for plugin in lake.catalogue.skipped]
    return await examine(lake.settings, skipped, folders=lake.workflows.library.folders)
