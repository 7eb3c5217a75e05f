"""What the page says of one scene, as JSON can hold it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import xarray as xr

from hadgeo.evidence.anomaly import Anomaly
from hadgeo.evidence.chip import Frame
from hadgeo.evidence.gather import NAMED_BANDS, measured
from hadgeo.evidence.report import pictures
from hadgeo.evidence.report.layer import rarity
from hadgeo.evidence.report.line import ReportLine
from hadgeo.files import sha256_of
from hadgeo.progress import SILENT, Progress

#: Anomalies that get chips and a spectrum, if the user says nothing.
DEFAULT_LIMIT = 500

#: Anomalies that are listed at all.
LISTED = 10_000

#: Significant digits of a value in a spectrum.
_DIGITS = 4

#: A step between bands that is so many times the usual one is a gap.
_GAP_STEPS = 3.0


def contents_of(
    lines: Sequence[ReportLine], *, limit: int = DEFAULT_LIMIT, progress: Progress = SILENT
) -> list[dict[str, Any]]:
    """Gather what one page shows of several scenes.

    Args:
        lines: The scenes.
        limit: How many anomalies of all of them, the rarest, get chips and a spectrum.
        progress: As for `content_of`.
    """
    ranked = sorted((rarity(row), number) for number, line in enumerate(lines) for row in line.layer.table)
    limits = Counter(number for _, number in ranked[:limit])
    return [
        content_of(line, limit=limits[number], lines=len(lines), progress=progress) for number, line in enumerate(lines)
    ]


def content_of(
    line: ReportLine, *, limit: int = DEFAULT_LIMIT, lines: int = 1, progress: Progress = SILENT
) -> dict[str, Any]:
    """Gather what the page shows of a scene, as JSON can hold it.

    Args:
        line: The scene.
        limit: How many anomalies, the rarest, get chips and a spectrum.
        lines: Among how many scenes the page is shared.
        progress: Follows the reading and may cancel it.

    Raises:
        CubeError: Polygons and map do not belong together.
        ReadError: A file is damaged.
        Cancelled: `progress` asked for it.
    """
    listed = line.layer.rarest(LISTED)
    anomalies = listed.rarest(limit).anomalies(line.scores.shape)
    evidence = _evidence(line, anomalies)
    where = list(anomalies) if line.glt is None else measured(anomalies, line.glt)
    frames = [pictures.frame_of(anomaly) for anomaly in where]
    step = pictures.step_of(line.scores.shape, lines)
    shown, sheets = _pictures(line, frames, step, progress)
    scores, score_sheet = _scores(line, frames, step, progress)
    grid = line.scores.grid
    return {
        "name": line.name or Path(line.source.path).name,
        "map": line.scores.path.name,
        "mapSha256": sha256_of(line.scores.path),
        "layer": Path(line.layer.name).name,
        "layerSha256": line.layer.sha256,
        "detector": line.scores.detector,
        "shape": list(grid.shape),
        "crs": _crs_name(line),
        "onEarth": grid.on_earth,
        "total": len(line.layer),
        "features": listed.features(),
        "outlines": listed.rings(),
        "pictures": shown,
        "scores": scores,
        "step": step,
        "evidence": _spectra(evidence),
        "chips": {
            "side": pictures.CHIP,
            "frames": [[frame.row, frame.col, frame.step] for frame in frames],
            # Outlines are on the map, chips in the sensor's geometry.
            "outlined": line.glt is None,
            "sheets": [*sheets, *score_sheet],
        },
        "histogram": asdict(line.figures),
        "run": None if line.run is None else dict(line.run),
        "repeat": line.repeat,
    }


def _evidence(line: ReportLine, anomalies: Sequence[Anomaly]) -> xr.Dataset:
    """What is known of the spectra of some anomalies, in their order."""
    if line.evidence is None:
        return line.explain(anomalies)
    place = {number: i for i, number in enumerate(line.evidence.id.values.tolist())}
    return line.evidence.isel(anomaly=[place[anomaly.id] for anomaly in anomalies])


def _pictures(
    line: ReportLine, frames: Sequence[Frame], step: int, progress: Progress
) -> tuple[list[dict[str, Any]], list[dict[str, str]]]:
    """The scene in colours, and the chips of its anomalies in the same."""
    shown, sheets = [], []
    for look in pictures.looks_of(line.source):
        image, limits = pictures.scene_picture(line.source, look, step, line.glt, progress)
        shown.append({"label": look.label, "tiles": pictures.tiles(image, step)})
        sheets.append({"label": look.label, "src": pictures.colour_sheet(line.source, look, frames, limits)})
    return shown, sheets


def _scores(
    line: ReportLine, frames: Sequence[Frame], step: int, progress: Progress
) -> tuple[dict[str, Any], list[dict[str, str]]]:
    """The scores over the scene, and in chips where they are known in the geometry of these."""
    scored = pictures.score_picture(line.scores, step, progress)
    shown = {"tiles": pictures.tiles(scored.overlay, step), "legend": pictures.legend_of(scored.legend)}
    own = line.scores if line.glt is None else line.sensor_scores
    if own is None:
        return shown, []
    sheet = pictures.score_sheet(own, scored.chip_ramp, frames)
    return shown, [{"label": "scores, brighter is rarer", "src": sheet}]


def _spectra(evidence: xr.Dataset) -> dict[str, Any]:
    """Spectra as rounded numbers; None where a value is unknown."""
    position, unit = _positions(evidence)
    bands = evidence.band.values
    deviation = (evidence.difference / evidence.spread.where(evidence.spread > 0)).values
    top = np.argsort(-np.nan_to_num(np.abs(deviation), nan=-1.0), axis=1)[:, :NAMED_BANDS]
    told: dict[str, Any] = {
        "detector": str(evidence.attrs.get("detector", "")),
        "unit": unit,
        "quantity": str(evidence.spectrum.attrs.get("quantity", "value in the scene")),
        "position": _rounded(position, 6),
        "bands": bands.tolist(),
        "gaps": _gaps(position, bands),
        "pixels": evidence.pixels.values.tolist(),
        "top": [
            [[int(band), round(float(row[band]), 1)] for band in best if np.isfinite(row[band])]
            for row, best in zip(deviation, top, strict=True)
        ],
    }
    for name in ("spectrum", "expected", "spread"):
        told[name] = [_rounded(row, _DIGITS) for row in evidence[name].values]
    if "share" in evidence:
        told["parts"] = [str(name) for name in evidence.part.values]
        told["shares"] = [_rounded(row, 3) for row in evidence.share.values]
    return told


def _positions(evidence: xr.Dataset) -> tuple[npt.NDArray[np.float64], str]:
    """Where the bands are along the axis of a spectrum, and its unit."""
    if "wavelength" in evidence.coords and np.isfinite(evidence.wavelength.values).all():
        return evidence.wavelength.values.astype(np.float64), "nm"
    return evidence.band.values.astype(np.float64), "band"


def _gaps(position: npt.NDArray[np.float64], bands: npt.NDArray[Any]) -> list[int]:
    """Before which bands no line is to be drawn, since some were left out."""
    step = np.diff(position)
    usual = float(np.median(np.abs(step))) if step.size else 0.0
    return (np.flatnonzero((np.diff(bands) > 1) | (np.abs(step) > _GAP_STEPS * usual)) + 1).tolist()


def _rounded(values: npt.NDArray[np.floating[Any]], digits: int) -> list[float | None]:
    return [float(f"{value:.{digits}g}") if np.isfinite(value) else None for value in values.tolist()]


def _crs_name(line: ReportLine) -> str:
    proj = line.scores.grid.proj
    if proj is None:
        return ""
    authority = proj.to_authority()
    return f"{proj.name} ({':'.join(authority)})" if authority else proj.name
