"""Fit a detector once, on one or several scenes of a sensor, and keep it for the other flight lines of a mission."""

from __future__ import annotations

import os
from collections.abc import Sequence
from concurrent.futures import Executor
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from hadgeo.bands import BandSelection
from hadgeo.compute.arithmetic import exact_arithmetic
from hadgeo.compute.device import resolve_device
from hadgeo.compute.executors import reading_threads
from hadgeo.cube import SceneLike, as_source
from hadgeo.detectors.base import Detector
from hadgeo.detectors.registry import DEFAULT_DETECTOR, make_detector
from hadgeo.errors import ModelError, OutputError
from hadgeo.files import check_no_input, check_output, written_beside
from hadgeo.formats.gdal import streaming
from hadgeo.formats.source import Source
from hadgeo.formats.survey import survey
from hadgeo.progress import SILENT, Progress
from hadgeo.run.engine import announce
from hadgeo.run.learning import SurfacesLike, check_regions, fitting, learning, look_at
from hadgeo.run.model_file import Model, Spectrum, load_model, spectrum_of, to_bytes
from hadgeo.run.reviewed import Unwanted
from hadgeo.run.selection import check_alike, match_bands, usable_bands
from hadgeo.sampling import Sample, Scene


def train(
    scenes: SceneLike | Sequence[SceneLike],
    detector: str | Detector[Any] = DEFAULT_DETECTOR,
    *,
    out: str | os.PathLike[str],
    parameters: dict[str, Any] | None = None,
    bands: str | Sequence[int] | BandSelection | None = None,
    background: str | os.PathLike[str] | None = None,
    exclude: str | os.PathLike[str] | None = None,
    suppress: SurfacesLike | None = None,
    suppress_like: Unwanted | None = None,
    device: str = "auto",
    overwrite: bool = False,
    executor: Executor | None = None,
    progress: Progress = SILENT,
) -> Model:
    """Fit a detector and write it to a file.

    Args:
        scenes: A scene or several of one sensor, each a file, a cube or an open source; the first decides which bands
            are used.
        detector: A detector's name, or an unfitted detector.
        out: The model file to write.
        parameters: Hyper-parameters by name, where `detector` is a name.
        bands: As for `hadgeo.detect`.
        background: A raster or polygons of what to learn from in every scene; see `hadgeo.detect`.
        exclude: A raster or polygons of what not to learn from, likewise.
        suppress: Surfaces not to learn from, as for `hadgeo.detect`.
        suppress_like: Spectra of rejected anomalies, likewise.
        device: As for `hadgeo.detect`.
        overwrite: Whether an existing file may be replaced.
        executor: Threads that read; some new ones by default.
        progress: Follows the fit and may cancel it.

    Returns:
        The model, as `load_model` reads it from the file.

    Raises:
        ParameterError: A scene is neither a file nor an `xarray.DataArray`, or a parameter is out of bounds.
        OutputError: There is no scene, or the file cannot be written.
        ModelError: A scene lacks bands of the first, or the fit diverged.
        RegionError: A region has no pixel of a scene in it, or leaves nothing to learn from.
        HadgeoError: Whatever else `hadgeo.detect` raises.

    Examples:
        >>> model = train(["line1.img", "line4.img"], "bs3lnet", out="mission.hadgeo")
        >>> hadgeo.detect("line2.img", model).path
        PosixPath('line2_anomaly.tif')
    """
    scenes = _each(scenes)
    if not scenes:
        raise OutputError(f"{out}: no scene to train on; give at least one")
    chosen = make_detector(detector, parameters) if isinstance(detector, str) else detector
    learned_from = learning(background, exclude, suppress, unwanted=suppress_like)
    torch_device = resolve_device(device)
    target = Path(out)
    check_output(target, overwrite=overwrite)
    check_regions(learned_from, target)
    sources = [as_source(scene) for scene in scenes]
    for source in sources:
        check_no_input(target, source.files, told="a scene, or a part of one")
    first = sources[0]
    selection = usable_bands(first, bands)
    spectrum = spectrum_of(first, selection.indices)
    level = survey(first, selection.indices).level
    fitted_on = [Scene(first, selection.indices)]
    fitted_on += [Scene(source, _bands_in(source, spectrum, level)) for source in sources[1:]]
    announce(progress, torch_device, str(selection))
    with reading_threads(executor) as pool, streaming(max(source.cache_bytes for source in sources)):
        looks = look_at(sources, learned_from, pool, progress)
        if looks:
            fitted_on = [
                replace(one, source=look.learned, chosen=look.learned.chosen)
                for one, look in zip(fitted_on, looks, strict=True)
            ]
        with fitting(looks), exact_arithmetic(torch_device):
            chosen.fit(
                Sample(*fitted_on, executor=pool, device=torch_device, progress=progress),
                device=torch_device,
                progress=progress,
            )
    model = Model(
        chosen,
        spectrum,
        stored_dtype=str(first.metadata.stored_dtype),
        level=level,
        scenes=tuple(Path(source.path).name for source in sources),
        loss=tuple(float(value) for value in chosen.loss_),
    )
    return _write(target, model, torch_device)


def _bands_in(source: Source, spectrum: Spectrum, level: float) -> list[int]:
    """Where a further scene has the bands of the first.

    Raises:
        ModelError: It lacks some, or has no data in them.
    """
    metadata = source.metadata
    advice = "train on scenes of one sensor"
    found = match_bands(spectrum, source.shape[0], metadata.wavelength, name=source.path, advice=advice)
    indices: list[int] = found.tolist()
    check_alike(source, indices, level)
    return indices


def largest_group(sources: Sequence[Source], bands: str | None) -> list[Source]:
    """The scenes that one model can be fitted on: those that have the bands of one of them, as many as there are.

    Args:
        sources: Scenes, perhaps of several sensors.
        bands: As for `hadgeo.detect`.

    Returns:
        They, in order.
    """
    groups = []
    for first in sources:
        selection = usable_bands(first, bands)
        spectrum, level = spectrum_of(first, selection.indices), survey(first, selection.indices).level
        group = [first]
        for source in sources:
            if source is not first:
                with suppress(ModelError):
                    _bands_in(source, spectrum, level)
                    group.append(source)
        if len(group) == len(sources):
            return list(sources)
        groups.append(group)
    return max(groups, key=len)


def _each(scenes: SceneLike | Sequence[SceneLike]) -> Sequence[SceneLike]:
    """Scenes as a sequence, which the name of a file is too."""
    return [scenes] if isinstance(scenes, str) or not isinstance(scenes, Sequence) else scenes


def _write(target: Path, model: Model, device: torch.device) -> Model:
    """Write a model and read it back; only then does it replace what stood there before."""
    with written_beside(target) as part:
        part.write_bytes(to_bytes(model))
        return load_model(part, device)
