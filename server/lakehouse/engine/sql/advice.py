"""What to do about a query that names what is not there, as only the catalog knows it."""

from typing import TYPE_CHECKING

from lakehouse.engine.sql.names import folded
from lakehouse.errors import InvalidInput, LakehouseError, Upstream

if TYPE_CHECKING:
    from lakehouse.engine.datasets import Datasets

_MOST = 5


class Advice:
    """Looks through the datasets a reader sees."""

    def __init__(self, datasets: "Datasets") -> None:
        self._datasets = datasets

    async def add(self, error: InvalidInput) -> None:
        """Say in which datasets a missing column is. Raises what is wrong with a dataset that cannot be shown."""
        if "dataset" in error.data:
            await self._check(error)
        elif "column" in error.data:
            name = folded(error.data["column"])
            having = [
                manifest.name
                for manifest in await self._datasets.list()
                if any(folded(column.name) == name for column in manifest.columns)
            ]
            if having:
                more = f" and {len(having) - _MOST} more" if len(having) > _MOST else ""
                where = f"Column {error.data['column']!r} is in {', '.join(having[:_MOST])}{more}."
                error.fix = f"{error.fix} {where}".strip()

    async def _check(self, error: InvalidInput) -> None:
        from lakehouse.engine.datasets import DatasetAway, DatasetDropped

        try:
            await self._datasets.get(error.data["dataset"])
        except Upstream:
            raise
        except DatasetAway as away:
            error.fix = away.fix
        except DatasetDropped as gone:
            error.detail, error.fix = f"sql: {gone.detail}", gone.fix
        except LakehouseError:
            return
