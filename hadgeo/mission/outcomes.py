"""What becomes of the flight lines of a batch, and who follows it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, Protocol

from hadgeo.maps.mosaic import Mosaic
from hadgeo.mission.flight_lines import FlightLine
from hadgeo.progress import SILENT, Progress
from hadgeo.run.model_file import Model


@dataclass(frozen=True)
class Outcome:
    """The outcome of a flight line.

    Attributes:
        line: The flight line.
        state: "done" now, "kept" from an earlier run, or "failed".
        error: Why it failed.
        facts: Of its map: detector, bands, rows, cols, valid, seconds, pixels_per_second.
        thumbnail: A small picture of it, or None.
    """

    line: FlightLine
    state: Literal["done", "kept", "failed"]
    error: str = ""
    facts: Mapping[str, Any] = field(default_factory=dict)
    thumbnail: Path | None = None


@dataclass(frozen=True)
class MissionLayer:
    """The anomalies of all lines in one vector file.

    Attributes:
        path: The file.
        crs: Its coordinate reference system, for people.
        objects: How many objects are in it.
        duplicates: How many anomalies were joined to a more significant one of another line.
        left_out: Names of lines that are not in it although they have a map, and why.
        kept: Whether it is from an earlier run.
    """

    path: Path
    crs: str
    objects: int
    duplicates: int
    left_out: Mapping[str, str] = field(default_factory=dict)
    kept: bool = False


@dataclass(frozen=True)
class Batch:
    """What a batch did.

    Attributes:
        folder: Where maps and summary are.
        outcomes: One per flight line, in order.
        model: The model of all flight lines, or None if each was fitted on itself.
        mosaic: The mosaic, or None.
        layer: The anomalies of all lines, or None.
        overview: A picture of all lines, or None.
        report: A page for the review of the anomalies of all lines, or None.
    """

    folder: Path
    outcomes: tuple[Outcome, ...]
    model: Model | None
    mosaic: Mosaic | None = None
    layer: MissionLayer | None = None
    overview: Path | None = None
    report: Path | None = None

    @property
    def failed(self) -> int:
        """Number of lines that failed."""
        return sum(outcome.state == "failed" for outcome in self.outcomes)


class Watch(Protocol):
    """What a caller hands in to follow a batch. On a cluster it is called from several threads."""

    def fitting(self) -> Progress:
        """The model of all lines is fitted now."""

    def begun(self, number: int, line: FlightLine) -> Progress:
        """A line, counted from 0, is begun; what is returned follows it."""

    def ended(self, number: int, outcome: Outcome) -> None:
        """A line has ended."""

    def deciding(self) -> Progress:
        """The anomalies of all lines are looked for now."""

    def message(self, text: str) -> None:
        """Something worth logging."""


class Unwatched:
    """A watch for nobody."""

    def fitting(self) -> Progress:
        """Follow nothing."""
        return SILENT

    def begun(self, number: int, line: FlightLine) -> Progress:  # noqa: ARG002 - the protocol's signature
        """Follow nothing."""
        return SILENT

    def ended(self, number: int, outcome: Outcome) -> None:
        """Ignore it."""

    def deciding(self) -> Progress:
        """Follow nothing."""
        return SILENT

    def message(self, text: str) -> None:
        """Ignore it."""
