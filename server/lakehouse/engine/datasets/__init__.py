"""Versioned datasets: manifests in buckets, a catalog for each bucket, all of them by name."""

from lakehouse.engine.datasets.catalog import Catalog
from lakehouse.engine.datasets.draft import Change, Draft
from lakehouse.engine.datasets.failures import (
    DatasetAway,
    DatasetDamaged,
    DatasetDropped,
    DatasetNotFound,
    SchemaChanged,
    check_same_schema,
    lost,
)
from lakehouse.engine.datasets.federation import Datasets
from lakehouse.engine.manifests import (
    Column,
    DataFile,
    EmptyFingerprint,
    EmptyName,
    Manifest,
    check_name,
    data_key,
    dataset_id,
    fingerprint,
)

__all__ = [
    "Catalog",
    "Change",
    "Column",
    "DataFile",
    "DatasetAway",
    "DatasetDamaged",
    "DatasetDropped",
    "DatasetNotFound",
    "Datasets",
    "Draft",
    "EmptyFingerprint",
    "EmptyName",
    "Manifest",
    "SchemaChanged",
    "check_name",
    "check_same_schema",
    "data_key",
    "dataset_id",
    "fingerprint",
    "lost",
]
