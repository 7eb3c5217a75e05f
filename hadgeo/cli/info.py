"""``hadgeo info``: the metadata of a cube, and on request what `detect` would need."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import click
from click.core import ParameterSource

from hadgeo.cli import options, say, scene_options
from hadgeo.cli.reporting import print_json

if TYPE_CHECKING:
    import torch
    from affine import Affine

    from hadgeo.bands import BandSelection
    from hadgeo.detectors.base import Detector
    from hadgeo.formats.source import Source

#: Stored bytes of a scene whose pixels without data are counted; a larger one takes too long for what is only a look.
_COUNTED_BYTES = 2**26


@click.command("info")
@click.argument("file")
@click.option("--json", "as_json", is_flag=True, help="Print the result as one JSON object.")
@click.option(
    "--estimate/--no-trial",
    default=None,
    help="Estimate the time and memory that `detect` would need, by a short trial run. So does naming a detector, its "
    "parameters, a device or a memory budget.",
)
@options.detector
@options.parameters
@options.preset
@options.bands
@scene_options.reading
@options.device
@options.memory
@options.debug
def command(
    file: str,
    as_json: bool,
    estimate: bool | None,
    detector: str,
    parameters: dict[str, str],
    bands: str | None,
    device: str,
    memory: int | None,
    **given: Any,
) -> None:
    """Show the shape, georeference, bands and nodata of FILE; with --estimate, what `detect` would need for it."""
    from hadgeo.run.selection import usable_bands

    if estimate is None:
        estimate = any(_is_given(name) for name in ("detector", "parameters", "preset", "device", "memory"))
    # What the command line gets wrong is said before a file is opened.
    trial = _Trial.of(detector, parameters, device) if estimate else None
    source = scene_options.open_scene(file, given)
    cube = _description(source)
    try:
        selection = usable_bands(source, bands)
        cube["bands_used"] = {
            "numbers": selection.numbers(),
            "count": len(selection.indices),
            "why": str(selection),
        }
        if trial is not None:
            cube["detect"] = trial.of_scene(source, selection, memory)
    finally:
        # What is known is most wanted where `detect` would refuse.
        if as_json:
            print_json(cube)
        else:
            _print(cube)


def _is_given(name: str) -> bool:
    """Whether an option stands in the command line, be it with the value of its default."""
    return click.get_current_context().get_parameter_source(name) is ParameterSource.COMMANDLINE


@dataclass(frozen=True)
class _Trial:
    """A short run, made to estimate a whole one. Only here is torch needed, and it takes long to load.

    Attributes:
        detector: Unfitted.
        device: Where it computes.
    """

    detector: Detector[Any]
    device: torch.device

    @classmethod
    def of(cls, detector: str, parameters: dict[str, str], device: str) -> _Trial:
        """Make sense of the command line."""
        from hadgeo.compute.device import resolve_device
        from hadgeo.detectors.registry import make_detector

        return cls(make_detector(detector, parameters), resolve_device(device))

    def of_scene(self, source: Source, bands: BandSelection, memory: int | None) -> dict[str, Any]:
        """What `detect` would need for a scene, as plain values."""
        from hadgeo.compute.device import describe_device
        from hadgeo.run.estimate import estimate

        needed = estimate(source, self.detector, bands, device=self.device, memory=memory)
        return {
            "detector": self.detector.name,
            "device": describe_device(self.device),
            "memory_bytes": needed.memory,
            "disk_bytes": needed.disk,
            "seconds": round(needed.seconds or 0, 3),
            "windows": len(needed.plan),
        }


def _description(source: Source) -> dict[str, Any]:
    """Everything known of a cube, as plain values; only of a small one are pixels read."""
    from hadgeo.errors import ReadError

    metadata = source.metadata
    bands, rows, cols = source.shape
    cube: dict[str, Any] = {
        "file": source.path,
        "driver": metadata.driver,
        "interleave": metadata.interleave,
        "bands": bands,
        "rows": rows,
        "columns": cols,
        "stored_type": str(metadata.stored_dtype),
        "bytes": bands * rows * cols * metadata.stored_dtype.itemsize,
        "crs": metadata.crs.to_string() if metadata.crs else None,
        "transform": list(metadata.transform)[:6] if metadata.georeferenced else None,
        "top_bearing": _bearing(metadata.transform) if metadata.georeferenced else None,
        "mirrored": metadata.transform.determinant > 0 if metadata.georeferenced else None,
        "wavelength_nm": _rounded(metadata.wavelength),
        "fwhm_nm": _rounded(metadata.fwhm),
        "bad_bands": None if metadata.good is None else [i + 1 for i, good in enumerate(metadata.good) if not good],
        "nodata": _finite(metadata.nodata),
        "band_nodata": _rounded(metadata.band_nodata),
        "mask_bands": [band + 1 for band in _mask_bands(source)],
        "empty_pixels": None,
        "read_as": source.variant,
        "warnings": list(metadata.warnings),
        "assumed": list(metadata.assumed),
    }
    if cube["bytes"] <= _COUNTED_BYTES:
        try:
            cube["empty_pixels"] = _empty_pixels(source)
        except ReadError as error:
            cube["warnings"].append(str(error))
    return cube


def _bearing(transform: Affine) -> float:
    """Where the first row lies, seen from the last: degrees from north on the map, clockwise."""
    bearing: float = math.degrees(math.atan2(-transform.b, -transform.e)) % 360
    return round(bearing, 6) % 360


def _mask_bands(source: Source) -> Iterator[int]:
    """Bands of the file that are masks, and no part of the cube."""
    from hadgeo.formats.mask_bands import MaskedByBands
    from hadgeo.formats.source import DerivedSource

    while isinstance(source, DerivedSource):
        if isinstance(source, MaskedByBands):
            yield from source.mask_bands
        source = source.source


def _empty_pixels(source: Source) -> int:
    """How many pixels have no data in any band."""
    import numpy as np

    from hadgeo.formats.source import PIECE_BYTES

    bands, rows, cols = source.shape
    step = max(16 * PIECE_BYTES // (bands * cols * source.dtype.itemsize), 1)
    strips = (slice(row, min(row + step, rows)) for row in range(0, rows, step))
    return sum(int(np.isnan(source.read(strip, slice(0, cols))).all(axis=0).sum()) for strip in strips)


def _rounded(values: Any) -> list[float | None] | None:
    """One number a band, None for bands of which it is not known."""
    return None if values is None else [round(float(v), 4) if math.isfinite(v) else None for v in values]


def _finite(value: float | None) -> float | str | None:
    """JSON has neither NaN nor infinity."""
    return value if value is None or math.isfinite(value) else str(value)


def _print(cube: dict[str, Any]) -> None:
    rows = {
        "file": cube["file"],
        "format": " ".join(str(cube[k]) for k in ("driver", "interleave", "stored_type") if cube[k]),
        "size": f"{cube['bands']} bands x {cube['rows']} rows x {cube['columns']} columns, {_size(cube['bytes'])}",
        "crs": cube["crs"] or "none",
        "transform": _place(cube),
        "spectrum": _spectrum(cube),
        "nodata": _nodata(cube),
    }
    if "bands_used" in cube:
        rows["bands used"] = f"{cube['bands_used']['numbers']}: {cube['bands_used']['why']}"
    if cube["assumed"]:
        rows["assumed"] = ("\n" + " " * 12).join(cube["assumed"])
    if cube["bad_bands"]:
        rows["bad bands"] = f"{len(cube['bad_bands'])} in the header"
    if "detect" in cube:
        need = cube["detect"]
        rows["detect"] = (
            f"{need['detector']} on {need['device']}: about {_duration(need['seconds'])} and "
            f"{_size(need['memory_bytes'])} of memory, "
            f"{_size(need['disk_bytes'])} of disk, {need['windows']} window{'s' * (need['windows'] != 1)}"
        )
    for name, value in rows.items():
        say(f"{name:>10}  {value}")


def _place(cube: dict[str, Any]) -> str:
    if cube["transform"] is None:
        return "none"
    sides = {0.0: "north", 90.0: "east", 180.0: "south", 270.0: "west"}
    bearing = cube["top_bearing"]
    side = f"the first row lies {sides[bearing]}" if bearing in sides else f"the first row lies at {bearing:g}°"
    mirrored = ", mirrored" if cube["mirrored"] else ""
    return f"{', '.join(f'{v:.10g}' for v in cube['transform'])} ({side}{mirrored})"


def _spectrum(cube: dict[str, Any]) -> str:
    known = [value for value in cube["wavelength_nm"] or () if value is not None]
    if not known:
        return "wavelengths unknown"
    lost = cube["bands"] - len(known)
    widths = [value for value in cube["fwhm_nm"] or () if value is not None]
    return (
        f"{min(known):g} to {max(known):g} nm"
        + (f", {min(widths):g} to {max(widths):g} nm wide" if widths else "")
        + (f", unknown for {lost} band{'s' * (lost != 1)}" if lost else "")
    )


def _nodata(cube: dict[str, Any]) -> str:
    fills = [value for value in cube["band_nodata"] or () if value is not None]
    if cube["nodata"] is not None:
        value = str(cube["nodata"])
    elif fills:
        value = f"{min(fills):g} to {max(fills):g}, one a band"
    else:
        value = "none"
    if cube["mask_bands"]:
        where = f"where band {', '.join(map(str, cube['mask_bands']))} of the file is 0"
        value = where if value == "none" else f"{value}, and {where}"
    empty = cube["empty_pixels"]
    return value if empty is None else f"{value}; {empty} of {cube['rows'] * cube['columns']} pixels are empty"


def _size(count: float) -> str:
    for limit, unit in ((1e9, "GB"), (1e6, "MB"), (1e3, "kB")):
        if count >= limit:
            return f"{count / limit:.1f} {unit}"
    return f"{count} bytes"


def _duration(seconds: float) -> str:
    if seconds < 120:
        return f"{seconds:.0f} s" if seconds >= 10 else f"{seconds:.1f} s"
    return f"{seconds / 60:.0f} min" if seconds < 7200 else f"{seconds / 3600:.1f} h"
