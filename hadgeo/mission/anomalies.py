"""What a batch shall write of the anomalies of all its lines together."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np
from rasterio.crs import CRS
from rasterio.errors import CRSError

from hadgeo.decisions.calibration import Rule
from hadgeo.decisions.decision import Grouping
from hadgeo.errors import ParameterError


@dataclass(frozen=True)
class MissionAnomalies:
    """What to write of the anomalies of all lines.

    Attributes:
        out: The vector file: ``.gpkg``, ``.geojson`` or ``.parquet``; a text is taken for a path.
        rule: Which pixels stand out.
        grouping: How they become anomalies.
        calibrate_on: What a rate, a rank and a p-value are counted in: each "line" by itself, or all scores of the
            "mission" together.
        crs: Coordinate reference system of the file; that of the first line by default. GeoJSON is in WGS 84 always.
        join_distance: How far the outlines of one thing may be apart in two lines, in metres; by default one and
            a half pixels of the coarser line.
        report: A page for the review of all of them, or None; a text is taken for a path.
        report_limit: How many, the rarest, get pictures and spectra in it.

    Raises:
        ParameterError: One of them is out of bounds.
    """

    out: Path
    rule: Rule = field(default_factory=lambda: Rule(pfa=1e-3))
    grouping: Grouping = field(default_factory=Grouping)
    calibrate_on: Literal["line", "mission"] = "line"
    crs: str | None = None
    join_distance: float | None = None
    report: Path | None = None
    report_limit: int = 500

    def __post_init__(self) -> None:
        object.__setattr__(self, "out", Path(self.out))
        if self.report is not None:
            object.__setattr__(self, "report", Path(self.report))
        if self.calibrate_on not in ("line", "mission"):
            raise ParameterError(f"calibrate_on must be line or mission, not {self.calibrate_on}")
        if self.join_distance is not None and not 0 <= self.join_distance < np.inf:
            raise ParameterError(f"join_distance must be at least 0, not {self.join_distance:g}")
        if self.crs is not None:
            _ = self.wanted_crs

    @property
    def wanted_crs(self) -> CRS | None:
        """The coordinate reference system that is asked for, or None."""
        try:
            return None if self.crs is None else CRS.from_user_input(self.crs)
        except CRSError:
            raise ParameterError(
                f"{self.crs}: not a coordinate reference system; give one such as EPSG:32633"
            ) from None

    @property
    def settings(self) -> dict[str, Any]:
        """What the file depends on beside the maps."""
        rule = {name: value for name, value in asdict(self.rule).items() if value is not None}
        grouping = asdict(self.grouping)
        return {
            **rule,
            **grouping,
            "calibrate_on": self.calibrate_on,
            "crs": self.crs,
            "join_distance": self.join_distance,
        }
