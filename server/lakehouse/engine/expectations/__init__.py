"""Expectations: what every version of a dataset must hold, stored with it and checked before each commit."""

from lakehouse.engine.expectations.failures import Broken
from lakehouse.engine.expectations.gate import Gatekeeper
from lakehouse.engine.expectations.judge import Finding, Row
from lakehouse.engine.expectations.rules import Expectation, read, stored

__all__ = ["Broken", "Expectation", "Finding", "Gatekeeper", "Row", "read", "stored"]
