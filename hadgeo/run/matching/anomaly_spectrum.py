"""The measured spectrum of an anomaly that an earlier run has found.

It stands in the evidence that ``--evidence`` wrote. Polygons lead there through the manifest of their run, or by their
name; where a run wrote no evidence, the pixels of the polygon are read from the scene that its manifest names.
"""

from __future__ import annotations

import hashlib
import io
import os
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
from affine import Affine
from pydantic import TypeAdapter
from rasterio.features import rasterize

from hadgeo.cube import as_source
from hadgeo.errors import CubeError, HadgeoError, MissingExtraError, TargetError, refusing
from hadgeo.formats.drivers import check_vector
from hadgeo.formats.reading import Reading
from hadgeo.formats.source import Source
from hadgeo.formats.survey import survey
from hadgeo.maps.polygon_fields import ACCEPTED, LAYER, MAP_FIELD, check_outlines, ids_by_verdict, maps_by_id, texts_of
from hadgeo.run.manifest import SCENES_OF_MAPS, Manifest, read_manifest
from hadgeo.run.matching.target import Target, Values, make_target, split_choice

if TYPE_CHECKING:
    import xarray as xr

#: What files of polygons end in.
_POLYGONS = (".gpkg", ".geojson", ".parquet")

#: What classic NetCDF begins with.
_NETCDF = b"CDF"

#: Larger files are no manifests.
_MOST_BYTES = 2**24


def read_anomaly(name: str | os.PathLike[str]) -> Target:
    """Read the measured spectrum of an anomaly, or of all that a person has accepted.

    Args:
        name: ``FILE#ID``: the polygons or the evidence of a run, and the number of the anomaly. Without a number,
            polygons with verdicts stand for all accepted ones, any of which is looked for.

    Raises:
        TargetNotFoundError: There is no such file.
        TargetError: It contains no such anomaly, or nothing is known of its spectrum; the message says what to do.
        ReviewError: It is a table of verdicts without polygons, or a verdict is unknown.
        MissingExtraError: Polygons need pyogrio and shapely.
    """
    path, chosen = split_choice(name)
    try:
        with path.open("rb") as file:
            evidence = file.read(len(_NETCDF)) == _NETCDF
    except OSError as error:
        raise TargetError(f"{path}: cannot be read ({error.strerror or error})") from None
    if evidence:
        return _of_evidence(path, chosen, path)
    check_outlines(path, "; for a spectrum from a file, use --spectrum")
    if path.suffix.lower() not in _POLYGONS:
        raise TargetError(
            f"{path}: neither polygons ({', '.join(_POLYGONS)}) nor evidence (.nc) of an earlier run; for a spectrum "
            "from a file, use --spectrum"
        )
    accepted = [] if chosen else ids_by_verdict(path, ACCEPTED)
    if accepted:
        return _any_of(path, read_anomalies(path, accepted))
    return _read(path, [chosen])[0]


def read_anomalies(path: Path, numbers: Sequence[int]) -> list[Target]:
    """Read the measured spectra of some polygons.

    Args:
        path: The polygons of a run, whether somebody has reviewed them or not.
        numbers: The numbers of the anomalies.

    Raises:
        TargetError: It contains no such anomaly, or nothing is known of its spectrum; the message says what to do.
        MissingExtraError: Polygons need pyogrio and shapely.
    """
    return _read(path, [str(number) for number in numbers])


def _read(path: Path, chosen: Sequence[str | None]) -> list[Target]:
    run = _run_of(path)
    beside = next((file for file in _evidence_of(path, run) if file.is_file()), None)
    if beside is not None:
        return [_of_evidence(beside, one, path) for one in chosen]
    return _of_scene(path, [_number(path, one, None) for one in chosen], run or _map_of(path))


def _any_of(path: Path, targets: Sequence[Target]) -> Target:
    """Several targets as one, of which the best match counts."""
    first, *others = targets
    if not others:
        return first
    numbers = ", ".join(target.name.split()[1] for target in targets)
    return replace(
        first,
        name=f"{len(targets)} accepted anomalies of {path.name}",
        notes=(f"any of anomalies {numbers}: a pixel has the score of the one that it is most like", *first.notes),
        others=tuple(others),
    )


def _number(path: Path, chosen: str | None, ids: Sequence[int] | None) -> int:
    """The number of an anomaly as it was typed, one of those that there are where they are known."""
    hint = f"name one as {path.name}#3"
    if ids is not None:
        hint = f"it contains {len(ids)}, from {min(ids)} to {max(ids)}; {hint}" if ids else "it contains none"
    if not chosen:
        raise TargetError(f"{path}: which anomaly? {hint}")
    if not chosen.isdecimal() or (ids is not None and int(chosen) not in ids):
        raise TargetError(f"{path}: no anomaly {chosen!r}; {hint}")
    return int(chosen)


def _of_evidence(path: Path, chosen: str | None, asked: Path) -> Target:
    """A spectrum from evidence, for whoever asked for it or for the polygons beside it."""
    try:
        import xarray as xr

        # From memory: a file that is cut short while it is mapped kills the process.
        with xr.open_dataset(io.BytesIO(path.read_bytes()), engine="scipy") as opened:
            evidence = opened.load()
        ids = [int(number) for number in evidence["id"].values]
        spectra = evidence["spectrum"].transpose("anomaly", "band").values.astype(np.float64)
        expected = evidence["expected"].transpose("anomaly", "band").values.astype(np.float64)
        bands = evidence["band"].values.astype(np.intp)
    except (OSError, ValueError, LookupError, TypeError) as error:
        reason = " ".join(str(error).split())
        raise TargetError(
            f"{path}: not the evidence of anomalies ({reason}); give what --evidence has written"
        ) from None
    number = _number(asked, chosen, ids)
    if asked != path:
        _check_same_place(asked, number, path, evidence.sel(anomaly=ids.index(number)))
    known = {name: evidence[name].values.astype(np.float64) for name in ("wavelength", "fwhm") if name in evidence}
    return make_target(
        f"anomaly {number} of {evidence.attrs.get('scene') or asked.name}",
        f"{path}#{number}",
        spectra[ids.index(number)],
        known.get("wavelength"),
        known.get("fwhm"),
        bands=bands,
        level=_level(np.concatenate([spectra, expected])),
        files=[asked] if path == asked else [asked, path],
    )


def _check_same_place(polygons: Path, number: int, path: Path, anomaly: xr.Dataset) -> None:
    """Refuse evidence of other anomalies than those of the polygons that led to it.

    Raises:
        TargetError: The anomaly of that number does not lie in its polygon's bounds.
    """
    try:
        meta, shapes = _shapes(polygons, number)
    except (MissingExtraError, TargetError):
        # The spectrum is known without the polygon.
        return
    names = ("longitude", "latitude") if meta["crs"] in ("EPSG:4326", "OGC:CRS84") else ("x", "y")
    if not set(names) <= set(anomaly.coords):
        names = ("col", "row")
    # Rows and columns count pixels by their centres, outlines by their corners.
    shift = 0.5 if names == ("col", "row") else 0.0
    import shapely

    left, bottom, right, top = shapely.total_bounds(shapes)
    margin = 1e-6 * max(1.0, right - left, top - bottom)
    x, y = (float(anomaly[name]) + shift for name in names)
    if not (left - margin <= x <= right + margin and bottom - margin <= y <= top + margin):
        raise TargetError(
            f"{path}: its anomaly {number} lies elsewhere than that of {polygons}, so they are of two runs; write both "
            f"again with `hadgeo threshold MAP --scene SCENE --polygons {polygons.name} --evidence {path.name}`"
        )


def _level(spectra: Values) -> float:
    """Median over the bands of the largest of some spectra."""
    finite = spectra[np.isfinite(spectra).all(axis=1)]
    return float(np.median(finite.max(axis=0))) if finite.size else 0.0


def _run_of(path: Path) -> Manifest | None:
    """The run that wrote a file, as a manifest in the file's folder or one beside its map tells it."""
    for candidate in sorted(path.parent.glob("*.json")):
        try:
            manifest = read_manifest(candidate) if candidate.stat().st_size < _MOST_BYTES else None
        except (CubeError, OSError):
            continue
        if manifest is not None and _wrote(manifest, path):
            return manifest
    return None


def _wrote(manifest: Manifest, path: Path) -> bool:
    """Whether a file is an output of a run, by its place or, where a folder was moved, by its content."""
    for record in manifest.outputs:
        if Path(record.path).name != path.name:
            continue
        if Path(record.path) == path.absolute():
            return True
        if record.bytes == path.stat().st_size and record.sha256 == hashlib.sha256(path.read_bytes()).hexdigest():
            return True
    return False


def _map_of(path: Path) -> Manifest | None:
    """The run that wrote the maps that polygons say they are of, where they were saved under another name.

    Its scenes are theirs, but its evidence may be of other anomalies.
    """
    maps = set(texts_of(path, MAP_FIELD))
    for candidate in sorted(path.parent.glob("*.json")) if maps else ():
        try:
            manifest = read_manifest(candidate) if candidate.stat().st_size < _MOST_BYTES else None
        except (CubeError, OSError):
            continue
        if manifest is not None and maps <= {record.sha256 for record in manifest.outputs}:
            return manifest
    return None


def _evidence_of(path: Path, run: Manifest | None) -> Iterator[Path]:
    """Where the evidence of polygons may be, likeliest first."""
    if run is not None:
        written = [Path(record.path) for record in run.outputs if Path(record.path).suffix == ".nc"]
        yield from written
        yield from (path.with_name(file.name) for file in written)
    else:
        yield path.with_suffix(".nc")


def _of_scene(path: Path, numbers: Sequence[int], run: Manifest | None) -> list[Target]:
    """The mean spectrum of each polygon's pixels, from the scene of its run."""
    how = f"write their spectra with `hadgeo threshold MAP --scene SCENE --polygons {path.name} --evidence spectra.nc`"
    if run is None:
        raise TargetError(f"{path}: nothing tells the spectra of its anomalies, and no manifest their scene; {how}")
    if run.facts.get("sensor_map"):
        raise TargetError(f"{path}: its map is orthorectified and its run wrote no spectra; {how}")
    names = _scenes_of(path, numbers, run)
    if not all(names):
        raise TargetError(f"{path}: its run wrote no spectra, and its manifest names no scene; {how}")
    opened = {}
    for name in dict.fromkeys(names):
        try:
            source = as_source(str(name), reading=_reading(run.options, path))
            opened[name] = source, survey(source, list(range(source.shape[0]))).level
        except MissingExtraError:
            raise
        except HadgeoError as error:
            raise TargetError(f"{path}: its scene cannot be read ({error}); {how}") from None
    return [_in_scene(path, number, *opened[name], how) for number, name in zip(numbers, names, strict=True)]


def _scenes_of(path: Path, numbers: Sequence[int], run: Manifest) -> list[str | None]:
    """The scene of each polygon: that of its map, where a layer is of several."""
    scenes = run.facts.get(SCENES_OF_MAPS)
    if scenes is None:
        return [next(iter(run.options.get("scenes") or [run.options.get("scene")]), None)] * len(numbers)
    maps = maps_by_id(path)
    # One that is not there is refused by its number.
    return [scenes.get(maps[number]) if number in maps else next(iter(scenes.values()), None) for number in numbers]


def _in_scene(path: Path, number: int, source: Source, level: float, how: str) -> Target:
    """The mean spectrum of a polygon's pixels."""
    try:
        spectrum = _mean(source, _outlines(path, number, source))
    except MissingExtraError:
        raise
    except TargetError as error:
        raise TargetError(f"{path}#{number}: {error}; {how}") from None
    except HadgeoError as error:
        raise TargetError(f"{path}: its scene cannot be read ({error}); {how}") from None
    metadata = source.metadata
    if metadata.good is not None:
        spectrum[~metadata.good] = np.nan
    return make_target(
        f"anomaly {number} of {Path(source.path).name}",
        f"{path}#{number}",
        spectrum,
        metadata.wavelength,
        metadata.fwhm,
        bands=np.arange(1, source.shape[0] + 1, dtype=np.intp),
        level=level,
        files=(path, *source.files),
        notes=(f"the mean of its pixels in {source.path}",),
    )


def _reading(options: dict[str, Any], path: Path) -> Reading:
    """How a scene was read, checked: a manifest may hold anything."""
    given = {name: options[name] for name in ("variable", "band_axis", "place", "fill", "quality") if name in options}
    with refusing(TargetError, f"{path}: its manifest does not say how its scene is read", "run it again"):
        return TypeAdapter(Reading).validate_python(given)


def _outlines(path: Path, number: int, source: Source) -> npt.NDArray[Any]:
    """The polygons of an anomaly, in the coordinates of a scene."""
    grid = source.metadata.grid
    meta, shapes = _shapes(path, number)
    crs = meta["crs"]
    if crs is None or grid.crs is None:
        return shapes
    import shapely

    moved = shapely.transform(shapes, lambda at: np.column_stack(grid.from_system(crs, *at.T)))
    return np.asarray(moved)


def _shapes(path: Path, number: int) -> tuple[dict[str, Any], npt.NDArray[Any]]:
    """The polygons of an anomaly in their own coordinates, and what the file says of these."""
    try:
        import pyogrio
        import shapely
    except ImportError as error:
        raise MissingExtraError(
            f'{path}: polygons need pyogrio and shapely; install them with pip install "hadgeo[vector]"'
        ) from error
    if path.suffix.lower() == ".parquet":
        raise TargetError("GeoParquet is not read")
    check_vector(path)
    try:
        with warnings.catch_warnings():
            # Of polygons without a coordinate system.
            warnings.simplefilter("ignore", UserWarning)
            layer = LAYER if LAYER in pyogrio.list_layers(path)[:, 0] else None
            meta, _, wkb, _ = pyogrio.raw.read(path, layer=layer, where=f'"id" = {number}', columns=["id"])
    except (RuntimeError, ValueError) as error:
        raise TargetError(f"not polygons of a run ({' '.join(str(error).split())})") from None
    with refusing(TargetError, "its geometries are damaged", "repair them in a GIS and save them again"):
        shapes = shapely.get_parts(shapely.from_wkb([] if wkb is None else wkb))
    if not len(shapes):
        raise TargetError("there is no such anomaly")
    return meta, np.asarray(shapes)


def _mean(source: Source, outlines: npt.NDArray[Any]) -> Values:
    """Mean spectrum of the pixels whose centre lies in polygons."""
    import shapely

    grid = source.metadata.grid
    x, y = shapely.get_coordinates(outlines).T
    cols, rows = grid.to_pixels(x, y)
    limits = []
    for at, length in ((rows, grid.shape[0]), (cols, grid.shape[1])):
        if not np.isfinite(at).all() or at.max() <= 0 or at.min() >= length:
            raise TargetError(f"it lies outside of {source.path}")
        limits.append(slice(max(0, int(np.floor(at.min()))), min(length, int(np.ceil(at.max())))))
    part = grid.window(*limits)
    # Not the part's own, which begins at 0 where a scene has no transform.
    place = grid.affine * Affine.translation(limits[1].start, limits[0].start)
    inside = rasterize(((outline, 1) for outline in outlines), out_shape=part.shape, transform=place) == 1
    block = source.read(*limits)[:, inside].astype(np.float64)
    finite = np.isfinite(block)
    counted = finite.sum(axis=1)
    if not counted.any():
        raise TargetError(f"none of its pixels in {source.path} has data")
    mean: Values = np.where(finite, block, 0.0).sum(axis=1) / np.where(counted > 0, counted, np.nan)
    return mean
