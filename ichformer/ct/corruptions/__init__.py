"""Corruptions: scans made worse on purpose, to measure how robust a model is."""

from ichformer.ct.corruptions.base import Scan
from ichformer.ct.corruptions.registry import (
    CORRUPTIONS,
    SEVERITIES,
    Corruption,
    Severity,
    corrupt,
    register_corruption,
)

__all__ = ["CORRUPTIONS", "SEVERITIES", "Corruption", "Scan", "Severity", "corrupt", "register_corruption"]
