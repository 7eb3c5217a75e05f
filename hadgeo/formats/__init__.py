"""File formats, one module per family, and the choice among them."""

from __future__ import annotations

from hadgeo.formats.matlab import read_truth
from hadgeo.formats.reading import Reading
from hadgeo.formats.registry import list_formats, open_source
from hadgeo.formats.source import BandSubset, Metadata, Source

__all__ = ["BandSubset", "Metadata", "Reading", "Source", "list_formats", "open_source", "read_truth"]
