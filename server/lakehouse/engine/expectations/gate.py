"""The gatekeeper of versions: a next version that breaks what its dataset expects is not committed."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from lakehouse import config
from lakehouse.engine.datasets import DataFile, Datasets, Draft, Manifest
from lakehouse.engine.expectations.failures import broken
from lakehouse.engine.expectations.judge import Finding, judge
from lakehouse.engine.expectations.rules import Expectation, check_columns, read, stored
from lakehouse.engine.manifests import dataset_id

if TYPE_CHECKING:
    from lakehouse.engine.storage import Storage

_REMEMBERED = 256
_SAME_ROWS = ("compact",)  # operations that write rows anew, and change none


class Gatekeeper:
    """Checks versions before they are committed, and datasets when somebody asks."""

    def __init__(self, storage: "Storage", settings: config.Ingest) -> None:
        self._storage = storage
        self._settings = settings
        self._held: dict[str, None] = {}  # contents known to hold what is expected of them

    async def check(self, datasets: Datasets, bucket: str, name: str, current: Manifest | None, draft: Draft) -> None:
        """Raises Broken when a next version does not hold what it expects."""
        if not draft.expectations or draft.dropped or draft.operation in _SAME_ROWS:
            return
        if _contents(draft) in self._held or _arrival(name, current, draft) in self._held:
            return
        expectations = read(draft.expectations)
        check_columns(expectations, [column.name for column in draft.columns])
        candidate = _candidate(name, bucket, draft)
        fresh = _only_added(current, draft)
        if fresh is None:
            findings = await self._judged(datasets, candidate, expectations)
        else:  # of what was there before, each row holds what a row must
            each_row = [e for e in expectations if e.per_row]
            findings = await self._judged(datasets, replace(candidate, objects=fresh), each_row)
            findings += await self._judged(datasets, candidate, [e for e in expectations if not e.per_row])
        if failed := [finding for finding in findings if not finding.holds and finding.severity == "error"]:
            raise broken(name, failed)
        self.passed(draft)

    def passed(self, draft: Draft) -> None:
        """Remember that these contents hold what they expect."""
        self._remember(_contents(draft))

    def remember(
        self, name: str, stays: Manifest | None, sha256: str, expectations: Sequence[Mapping[str, Any]]
    ) -> None:
        """Remember that a file, beside the version that stays or alone, holds what is expected."""
        self._remember(_named(name, stays.objects if stays else (), sha256, expectations))

    def _remember(self, what: str) -> None:
        self._held[what] = None
        while len(self._held) > _REMEMBERED:
            self._held.pop(next(iter(self._held)))

    async def look(self, datasets: Datasets, name: str) -> tuple[Manifest, list[Finding]]:
        """How a dataset's newest version holds what is expected of it. Raises DatasetNotFound, DatasetDamaged."""
        manifest = await datasets.get(name)
        return manifest, await self._judged(datasets, manifest, read(manifest.expectations))

    async def set(
        self, datasets: Datasets, name: str, expectations: Sequence[Expectation]
    ) -> tuple[Manifest, list[Finding]]:
        """Make these what is expected of a dataset from now on, in place of what was; none: nothing is.

        Returns the version that says so, and how the data holds them. Raises Broken when it breaks one that is an
        error, InvalidInput for one that cannot be asked of it; nothing changes then.
        """
        await datasets.get(name)
        findings: list[Finding] = []

        async def changed(current: Manifest | None) -> Draft | None:
            if current is None or current.dropped:
                await datasets.get(name)  # raises
                return None
            check_columns(expectations, [column.name for column in current.columns])
            findings[:] = await self._judged(datasets, current, expectations)
            if failed := [found for found in findings if not found.holds and found.severity == "error"]:
                raise broken(name, failed)
            draft = Draft.of(
                current,
                "expectations",
                expectations=stored(expectations),
                statistics=current.statistics,
                provenance=current.provenance,
            )
            self.passed(draft)
            return draft

        manifest, _ = await datasets.change(name, changed)
        return manifest, findings

    async def _judged(
        self, datasets: Datasets, manifest: Manifest, expectations: Sequence[Expectation]
    ) -> list[Finding]:
        from lakehouse.engine.tables import desk, table_of

        if not expectations:
            return []
        table = await table_of(datasets, manifest)
        async with self._storage.scratch() as folder, desk({"data": table}, folder, self._settings) as work:
            return await judge(work, expectations)


def _only_added(current: Manifest | None, draft: Draft) -> tuple[DataFile, ...] | None:
    """The files that a draft adds to a version that held the same expectations; None where more changes."""
    if current is None or current.dropped or current.columns != draft.columns or current.key != draft.key:
        return None
    if current.expectations != tuple(map(dict, draft.expectations)):
        return None
    count = len(current.objects)
    added = draft.objects[count:]
    if draft.objects[:count] != current.objects or any(file.role != "base" for file in added):
        return None
    return added or None


def _candidate(name: str, bucket: str, draft: Draft) -> Manifest:
    """A draft as the version it would be."""
    return Manifest(
        dataset_id=dataset_id(name),
        name=name,
        version=0,
        schema_fingerprint="",
        objects=draft.objects,
        row_count=draft.row_count,
        columns=draft.columns,
        statistics={},
        provenance={},
        created_at="",
        updated_at="",
        bucket=bucket,
        key=draft.key,
    )


def _arrival(name: str, current: Manifest | None, draft: Draft) -> str:
    """A draft that is one file beside the newest version, or instead of it, as it was remembered."""
    *before, last = draft.objects
    if last.role != "base" or (before and (current is None or tuple(before) != current.objects)):
        return ""
    return _named(name, before, last.sha256, draft.expectations)


def _named(name: str, stays: Sequence[DataFile], sha256: str, expectations: Sequence[Mapping[str, Any]]) -> str:
    # What stays by its contents: another bucket has other rows under the same name and version.
    files = [(file.sha256, file.role, file.lacks) for file in stays]
    return json.dumps([name, files, sha256, [dict(each) for each in expectations]], sort_keys=True)


def _contents(draft: Draft) -> str:
    """What a draft's rows and expectations are made of, as one text."""
    files = [(file.sha256, file.role, file.lacks) for file in draft.objects]
    columns = [(column.name, column.type) for column in draft.columns]
    return json.dumps([files, columns, draft.key, [dict(each) for each in draft.expectations]], sort_keys=True)
