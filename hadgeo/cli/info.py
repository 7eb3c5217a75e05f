"""``hadgeo info``: the metadata of a cube, and what `detect` would need."""

from __future__ import annotations

import math
from typing import Any

import click

from hadgeo.cli import options, scene_options
from hadgeo.cli.reporting import print_json


@click.command("info")
@click.argument("file")
@click.option("--json", "as_json", is_flag=True, help="Print the result as one JSON object.")
@click.option("--no-trial", is_flag=True, help="Skip the short trial run from which time and memory are estimated.")
@options.detector
@options.parameters
@options.bands
@scene_options.reading
@options.device
@options.memory
@options.debug
def command(
    file: str,
    as_json: bool,
    no_trial: bool,
    detector: str,
    parameters: dict[str, str],
    bands: str | None,
    device: str,
    memory: int | None,
    **given: Any,
) -> None:
    """Show the shape, georeference, bands and nodata of FILE, and the time and memory that `detect` would need."""
    from hadgeo.compute.device import describe_device, resolve_device
    from hadgeo.detectors.registry import make_detector
    from hadgeo.run.estimate import estimate
    from hadgeo.run.selection import usable_bands

    chosen = make_detector(detector, parameters)
    where = resolve_device(device)
    source = scene_options.open_scene(file, given)
    facts = _facts(source)
    try:
        selection = usable_bands(source, bands)
        facts["bands_used"] = {"numbers": selection.numbers(), "count": len(selection.indices), "why": str(selection)}
        if not no_trial:
            needed = estimate(source, chosen, selection, device=where, memory=memory)
            facts["detect"] = {
                "detector": detector,
                "device": describe_device(where),
                "memory_bytes": needed.memory,
                "disk_bytes": needed.disk,
                "seconds": round(needed.seconds or 0, 1),
                "windows": len(needed.plan),
            }
    finally:
        # What is known is most wanted where `detect` would refuse.
        if as_json:
            print_json(facts)
        else:
            _print(facts)


def _facts(source: Any) -> dict[str, Any]:
    """Everything known without reading pixels, as plain values."""
    metadata = source.metadata
    bands, rows, cols = source.shape
    wavelength, good = metadata.wavelength, metadata.good
    return {
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
        "wavelength_nm": _rounded(wavelength),
        "fwhm_nm": _rounded(metadata.fwhm),
        "bad_bands": None if good is None else [i + 1 for i, g in enumerate(good) if not g],
        "nodata": _finite(metadata.nodata),
        "warnings": list(metadata.warnings),
        "assumed": list(metadata.assumed),
    }


def _rounded(values: Any) -> list[float | None] | None:
    """One number a band, None for bands of which it is not known."""
    return None if values is None else [round(float(v), 4) if math.isfinite(v) else None for v in values]


def _finite(value: float | None) -> float | str | None:
    """JSON has neither NaN nor infinity."""
    return value if value is None or math.isfinite(value) else str(value)


def _print(facts: dict[str, Any]) -> None:
    wavelength = [value for value in facts["wavelength_nm"] or () if value is not None]
    spectrum = f"{wavelength[0]:g} to {wavelength[-1]:g} nm" if wavelength else "wavelengths unknown"
    lines = {
        "file": facts["file"],
        "format": " ".join(str(facts[k]) for k in ("driver", "interleave", "stored_type") if facts[k]),
        "size": f"{facts['bands']} bands x {facts['rows']} rows x {facts['columns']} columns, {_size(facts['bytes'])}",
        "crs": facts["crs"] or "none",
        "transform": ", ".join(f"{v:.10g}" for v in facts["transform"]) if facts["transform"] else "none",
        "spectrum": spectrum,
        "nodata": "none" if facts["nodata"] is None else facts["nodata"],
    }
    if "bands_used" in facts:
        lines["bands used"] = f"{facts['bands_used']['numbers']}: {facts['bands_used']['why']}"
    if facts["assumed"]:
        lines["assumed"] = ("\n" + " " * 12).join(facts["assumed"])
    if facts["bad_bands"]:
        lines["bad bands"] = f"{len(facts['bad_bands'])} in the header"
    if "detect" in facts:
        need = facts["detect"]
        lines["detect"] = (
            f"{need['detector']} on {need['device']}: about {_duration(need['seconds'])} and "
            f"{_size(need['memory_bytes'])} of memory, "
            f"{_size(need['disk_bytes'])} of disk, {need['windows']} window{'s' * (need['windows'] != 1)}"
        )
    for name, value in lines.items():
        click.echo(f"{name:>10}  {value}")


def _size(count: float) -> str:
    for limit, unit in ((1e9, "GB"), (1e6, "MB"), (1e3, "kB")):
        if count >= limit:
            return f"{count / limit:.1f} {unit}"
    return f"{count} bytes"


def _duration(seconds: float) -> str:
    if seconds < 120:
        return f"{seconds:.0f} s" if seconds >= 10 else f"{seconds:.1f} s"
    return f"{seconds / 60:.0f} min" if seconds < 7200 else f"{seconds / 3600:.1f} h"
