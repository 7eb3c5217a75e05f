"""Why a pixel stands out: what was measured there, what was expected instead, and how unusual the difference is.

Each anomaly costs one small window around it, so memory depends neither on the scene nor on the anomalies' number.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import torch
from scipy.ndimage import binary_dilation

from hadgeo import __version__
from hadgeo.compute.arithmetic import exact_arithmetic
from hadgeo.compute.device import resolve_device
from hadgeo.cube import SceneLike, as_source
from hadgeo.detectors.base import Detector
from hadgeo.errors import Cancelled, CubeError
from hadgeo.evidence.anomaly import Anomaly
from hadgeo.evidence.chip import SIDE, Frame, read_chip
from hadgeo.files import check_output, written_beside
from hadgeo.formats.glt import Glt
from hadgeo.formats.source import Source
from hadgeo.formats.survey import band_index
from hadgeo.grid import Grid
from hadgeo.pictures.composite import colour_bands
from hadgeo.progress import SILENT, Progress, Stage
from hadgeo.run.model_file import Model
from hadgeo.run.selection import scene_of_model, usable_bands
from hadgeo.windows import Window, pad

if TYPE_CHECKING:
    import xarray as xr

#: Pixels to each side of an anomaly in which its usual surroundings are sought.
SURROUNDINGS = 10

#: Of an anomaly that is wider or higher than this, the part around its middle is looked at.
LARGEST_SIDE = 64

#: Bands named in `top_bands`.
NAMED_BANDS = 5

#: Smaller shares are not named in `top_parts`.
_LEAST_SHARE = 0.01

#: Ratio of the standard deviation of a normal distribution to the median of its absolute value.
_NORMAL = 1.4826

#: Fewer surrounding pixels do not tell what is usual.
_FEWEST_AROUND = 8


def gather_evidence(
    scene: SceneLike,
    detector: Detector[Any] | Model | None,
    anomalies: Iterable[Anomaly],
    *,
    bands: Sequence[int] | None = None,
    resample_bands: bool = False,
    glt: Glt | None = None,
    device: str = "auto",
    progress: Progress = SILENT,
) -> xr.Dataset:
    """Compare the spectrum of each anomaly with the background expected there.

    Args:
        scene: The file, cube or open source in which they were found.
        detector: What found them: fitted, or a model. With None, or one that cannot explain itself, the median
            spectrum of the surroundings is expected.
        anomalies: Groups of pixels, in the order in which they are reported: of your own, or `Anomalies.groups` of
            `hadgeo.find_anomalies`.
        bands: 0-based indices of the bands that a fitted detector takes, `Detection.bands.indices`; a model knows its
            own. By default those that `hadgeo.detect` would choose.
        resample_bands: Interpolate the scene to a model's wavelengths, where they differ, instead of refusing.
        glt: What leads from the sensor's geometry to the map on which the anomalies are, `Detection.glt`; spectra are
            those of the measured pixels that the map shows there, each once. By default they are on the scene's grid.
        device: Where to compute; see `hadgeo.detect`.
        progress: Follows the work and may cancel it.

    Returns:
        A dataset of the dimensions ``anomaly`` and ``band``:

        - ``spectrum``, the mean over the anomaly's pixels; ``expected``, the mean of the background there;
          ``difference``, the former less the latter: in the units of the scene.
        - ``spread``, the typical size of the difference in the surroundings, 1.4826 times the median of its absolute
          value, which is the standard deviation where it is normal and its mean is 0. NaN with too few pixels around.
        - ``chip``, the 25 x 25 pixels around its middle as red, green, blue and opacity, 0 to 255; true colour where
          the cube covers it.
        - ``top_bands``, the bands with the largest difference in spreads, as ``1650 nm (+8.2σ), ...``.
        - ``share``, of the dimension ``part`` too, the share of each part in the anomaly's score, which together make
          1, and ``top_parts``, the same in words; only for a detector of several parts, such as `fusion`.

        Coordinates ``wavelength`` and ``fwhm`` (nm) where they are known, ``id``, ``pixels`` (those averaged), ``row``,
        ``col`` (0-based, of the centre), ``x``, ``y`` where the scene has a place, ``longitude``,
        ``latitude`` where that is on Earth. With `glt`, ``row`` and ``col`` are the map's, and ``sensor_row`` and
        ``sensor_col`` the scene's.

    Raises:
        CubeError: The scene cannot be used, or an anomaly lies outside of it.
        BandError: Fewer than two bands are left.
        ModelError: A model's bands are not in the scene.
        ParameterError: The scene is neither a file nor an `xarray.DataArray`.
        Cancelled: `progress` asked for it.

    Examples:
        >>> pixel = Anomaly(1, rows=np.array([20]), cols=np.array([11]))
        >>> evidence = gather_evidence("line.img", load_model("mission.hadgeo"), [pixel])
        >>> evidence.difference.sel(anomaly=0).plot(x="wavelength")
    """
    source, anomalies = as_source(scene), list(anomalies)
    fitted: Detector[Any] | None
    if isinstance(detector, Model):
        source, selection = scene_of_model(source, detector, resample=resample_bands)
        bands, fitted = selection.indices, detector.detector
    else:
        bands, fitted = bands if bands is not None else usable_bands(source, None).indices, detector
    shown, grid = anomalies, source.metadata.grid
    if glt is not None:
        anomalies, grid = measured(anomalies, glt), glt.grid
    _check_inside(anomalies, source)
    torch_device = resolve_device(device)
    if fitted is not None:
        fitted.load_state(fitted.state(), torch_device)
    looker = _Looker(source, bands, fitted, torch_device, anomalies)
    colours = colour_bands(source.metadata, source.shape[0])
    looks: dict[int, _Look] = {}
    # Classic NetCDF has no uint8.
    chips = np.zeros((len(anomalies), SIDE, SIDE, 4), dtype=np.int16)
    progress.stage(Stage.EVIDENCE, len(anomalies))
    # By their place, so that neighbours find each other's blocks of the file still in a cache.
    for i in sorted(range(len(anomalies)), key=lambda i: (anomalies[i].rows.min(), anomalies[i].cols.min())):
        if progress.cancelled():
            raise Cancelled("stopped on request")
        looks[i] = looker.look(anomalies[i])
        chips[i] = read_chip(source, colours, Frame.around(*middle_of(anomalies[i])))
        progress.advance()
    evidence = _dataset(source, grid, bands, fitted, shown, [looks[i] for i in range(len(anomalies))])
    if glt is not None:
        rows, cols = _centres(anomalies)
        evidence = evidence.assign_coords(sensor_row=("anomaly", rows), sensor_col=("anomaly", cols))
    return evidence.assign(chip=(("anomaly", "chip_row", "chip_col", "rgba"), chips, {"long_name": colours.label}))


def measured(anomalies: Sequence[Anomaly], glt: Glt) -> list[Anomaly]:
    """Anomalies in the sensor's geometry, of pixels that a map shows.

    Args:
        anomalies: On the map.
        glt: What led there; it names a pixel for each of theirs.

    Returns:
        The same, with each measured pixel once.
    """
    if not anomalies:
        return []
    ends = np.cumsum([anomaly.rows.size for anomaly in anomalies])[:-1]
    # All at once, since a table is read strip by strip.
    found = glt.find(*(np.concatenate([getattr(anomaly, name) for anomaly in anomalies]) for name in ("rows", "cols")))
    once = [np.unique(np.stack(pair), axis=1) for pair in zip(*(np.split(axis, ends) for axis in found), strict=True)]
    return [Anomaly(anomaly.id, *pixels) for anomaly, pixels in zip(anomalies, once, strict=True)]


def _check_inside(anomalies: Sequence[Anomaly], source: Source) -> None:
    rows, cols = source.shape[1:]
    for anomaly in anomalies:
        if min(anomaly.rows.min(), anomaly.cols.min()) < 0 or anomaly.rows.max() >= rows or anomaly.cols.max() >= cols:
            raise CubeError(
                f"{source.path}: {rows} x {cols} pixels, but anomaly {anomaly.id} extends outside; "
                "give the scene it was found in"
            )


@dataclass(frozen=True)
class _Look:
    """Spectra (band) of one anomaly, NaN where unknown, how many pixels they are of, and shares (part) in its score."""

    spectrum: npt.NDArray[np.float64]
    expected: npt.NDArray[np.float64]
    spread: npt.NDArray[np.float64]
    pixels: int
    shares: npt.NDArray[np.float64]


class _Looker:
    """Reads the surroundings of one anomaly after the other."""

    def __init__(
        self,
        source: Source,
        bands: Sequence[int],
        detector: Detector[Any] | None,
        device: torch.device,
        anomalies: Sequence[Anomaly],
    ) -> None:
        self._source = source
        self._bands = band_index(bands, source.shape[0])
        self._detector = detector
        self._device = device
        rows = np.concatenate([anomaly.rows for anomaly in anomalies]) if anomalies else np.empty(0, np.intp)
        cols = np.concatenate([anomaly.cols for anomaly in anomalies]) if anomalies else np.empty(0, np.intp)
        order = np.argsort(rows, kind="stable")
        self._rows, self._cols = rows[order], cols[order]

    def look(self, anomaly: Anomaly) -> _Look:
        halo, grid = (0, 1) if self._detector is None else (self._detector.halo, self._detector.grid)
        shape = self._source.shape[1:]
        window = pad(_surroundings(anomaly, shape), halo, shape, grid)
        block = self._source.read(window.outer_rows, window.outer_cols, self._bands)
        measured = block[(slice(None), *window.inner)].astype(np.float64)
        valid = np.isfinite(measured).all(axis=0)
        here = _mask(window, anomaly.rows, anomaly.cols) & valid
        # A pixel that touches an anomaly may hold a part of it.
        around = valid & ~binary_dilation(self._anomalous(window), np.ones((3, 3), dtype=bool))
        expected = self._expected(block, window, measured, around)
        difference = measured - expected
        return _Look(
            _mean(measured[:, here]),
            _mean(expected[:, here]),
            _usual_size(difference[:, around]),
            int(here.sum()),
            self._shares(block, window, here),
        )

    def _shares(
        self, block: npt.NDArray[np.floating[Any]], window: Window, here: npt.NDArray[np.bool_]
    ) -> npt.NDArray[np.float64]:
        """The share of each part of the detector in the score of some pixels; none of a detector of one part."""
        if self._detector is None or not self._detector.part_names:
            return np.empty(0)
        with exact_arithmetic(self._device):
            parts = self._detector.contributions(self._moved(block))[(slice(None), *window.inner)]
        total = parts.cpu().numpy()[:, here].sum(axis=1).astype(np.float64)
        shares: npt.NDArray[np.float64] = total / max(total.sum(), np.finfo(np.float64).tiny)
        return shares

    def _moved(self, block: npt.NDArray[np.floating[Any]]) -> torch.Tensor:
        # Apple's GPUs have no float64.
        return torch.from_numpy(block).to(self._device, torch.float32 if self._device.type == "mps" else None)

    def _anomalous(self, window: Window) -> npt.NDArray[np.bool_]:
        """Where a window holds any anomaly."""
        part = slice(*np.searchsorted(self._rows, (window.rows.start, window.rows.stop)))
        return _mask(window, self._rows[part], self._cols[part])

    def _expected(
        self,
        block: npt.NDArray[np.floating[Any]],
        window: Window,
        measured: npt.NDArray[np.float64],
        around: npt.NDArray[np.bool_],
    ) -> npt.NDArray[np.float64]:
        if self._detector is not None:
            with exact_arithmetic(self._device):
                explained = self._detector.explain(self._moved(block))
            if explained is not None:
                inner = explained[(slice(None), *window.inner)].cpu().numpy()
                return inner.astype(np.float64)
        if not around.any():
            return np.full_like(measured, np.nan)
        return np.broadcast_to(np.median(measured[:, around], axis=1)[:, None, None], measured.shape)


def _surroundings(anomaly: Anomaly, shape: tuple[int, ...]) -> Window:
    """The window of an anomaly, of its middle where it is large, and of what lies around."""
    sides = []
    middle = middle_of(anomaly)
    for indices, at, length in zip((anomaly.rows, anomaly.cols), middle, shape, strict=True):
        low = max(int(indices.min()), at - LARGEST_SIDE // 2)
        high = min(int(indices.max()) + 1, at + LARGEST_SIDE // 2)
        sides.append((max(0, low - SURROUNDINGS), min(length, high + SURROUNDINGS)))
    (top, bottom), (left, right) = sides
    return Window(top, left, bottom - top, right - left)


def middle_of(anomaly: Anomaly) -> tuple[int, int]:
    """The pixel of an anomaly that is nearest to its centroid, which may lie outside."""
    rows, cols = anomaly.rows, anomaly.cols
    nearest = int(np.hypot(rows - rows.mean(), cols - cols.mean()).argmin())
    return int(rows[nearest]), int(cols[nearest])


def _mask(window: Window, rows: npt.NDArray[np.intp], cols: npt.NDArray[np.intp]) -> npt.NDArray[np.bool_]:
    """Which of a window's pixels are among those given."""
    mask = np.zeros((window.height, window.width), dtype=bool)
    down, right = rows - window.row, cols - window.col
    inside = (down >= 0) & (down < window.height) & (right >= 0) & (right < window.width)
    mask[down[inside], right[inside]] = True
    return mask


def _mean(spectra: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Mean of (band, pixel), NaN without pixels."""
    return spectra.mean(axis=1) if spectra.shape[1] else np.full(spectra.shape[0], np.nan)


def _usual_size(difference: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """How large the differences (band, pixel) of the background are; see `gather_evidence`."""
    if difference.shape[1] < _FEWEST_AROUND:
        return np.full(difference.shape[0], np.nan)
    size: npt.NDArray[np.float64] = _NORMAL * np.median(np.abs(difference), axis=1)
    return size


def _dataset(
    source: Source,
    grid: Grid,
    bands: Sequence[int],
    detector: Detector[Any] | None,
    anomalies: Sequence[Anomaly],
    looks: Sequence[_Look],
) -> xr.Dataset:
    index = np.asarray(bands, dtype=np.intp)
    shape = (len(looks), index.size)
    spectrum, expected, spread = (
        np.array([getattr(look, name) for look in looks], dtype=np.float64).reshape(shape)
        for name in ("spectrum", "expected", "spread")
    )
    metadata = source.metadata.take(index)
    of_scene = {"units": "of the scene"} | ({"quantity": metadata.quantity} if metadata.quantity else {})
    values = {
        "spectrum": (("anomaly", "band"), spectrum, {"long_name": "mean spectrum", **of_scene}),
        "expected": (("anomaly", "band"), expected, {"long_name": "mean expected background", **of_scene}),
        "difference": (("anomaly", "band"), spectrum - expected, {"long_name": "spectrum - expected", **of_scene}),
        "spread": (
            ("anomaly", "band"),
            spread,
            {"long_name": "typical size of the difference in the surroundings", **of_scene},
        ),
    }
    coords: dict[str, Any] = {"band": index + 1, **_places(grid, anomalies)}
    ids = np.array([anomaly.id for anomaly in anomalies], dtype=np.int64)
    # Those of a GIS may be any; hadgeo's own count from 1.
    small = not ids.size or (ids == ids.astype(np.int32)).all()
    coords["id"] = ("anomaly", ids.astype(np.int32) if small else ids)
    coords["pixels"] = ("anomaly", np.array([look.pixels for look in looks], dtype=np.int32))
    for name in ("wavelength", "fwhm"):
        if getattr(metadata, name) is not None:
            coords[name] = ("band", getattr(metadata, name), {"units": "nm"})
    attrs = {
        "title": "spectral evidence of anomalies",
        "scene": Path(source.path).name,
        "detector": "" if detector is None else detector.name,
        "crs": grid.crs.to_wkt() if grid.crs is not None else "",
        "history": f"hadgeo {__version__}",
    }
    if detector is not None and detector.part_names:
        shares = np.array([look.shares for look in looks], dtype=np.float64).reshape(len(looks), -1)
        values["share"] = (("anomaly", "part"), shares, {"long_name": "share in the score"})
        coords["part"] = ("part", np.array(detector.part_names, dtype=object))
    # Not above: runs without evidence need no xarray.
    import xarray as xr

    dataset = xr.Dataset(values, coords=coords, attrs=attrs)
    told = {"top_bands": top_bands(dataset)} | ({"top_parts": top_parts(dataset)} if "share" in dataset else {})
    return dataset.assign({name: ("anomaly", np.array(texts, dtype=object)) for name, texts in told.items()})


def _centres(anomalies: Sequence[Anomaly]) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    rows = np.array([anomaly.rows.mean() for anomaly in anomalies], dtype=np.float64)
    return rows, np.array([anomaly.cols.mean() for anomaly in anomalies], dtype=np.float64)


def _places(grid: Grid, anomalies: Sequence[Anomaly]) -> dict[str, Any]:
    """Coordinates of the anomalies' centres, as far as they are known."""
    rows, cols = _centres(anomalies)
    coords: dict[str, Any] = {"row": ("anomaly", rows), "col": ("anomaly", cols)}
    if not grid.georeferenced:
        return coords
    x, y = grid.to_map(cols + 0.5, rows + 0.5)
    coords |= {"x": ("anomaly", x), "y": ("anomaly", y)}
    if grid.on_earth:
        longitude, latitude = grid.to_longitude_latitude(x, y)
        coords["longitude"] = ("anomaly", longitude, {"units": "degrees_east"})
        coords["latitude"] = ("anomaly", latitude, {"units": "degrees_north"})
    return coords


def top_bands(evidence: xr.Dataset, count: int = NAMED_BANDS) -> list[str]:
    """The bands in which each anomaly differs most from what was expected, in units of the usual difference.

    Args:
        evidence: Of `gather_evidence`.
        count: How many to name.

    Returns:
        Such as ``1650 nm (+8.2σ), 1660 nm (+8.0σ)``, band numbers where wavelengths are not known; empty where no
        spread is known.
    """
    names = [f"band {number}" for number in evidence.band.values]
    if "wavelength" in evidence.coords:
        centres = evidence.wavelength.values
        names = [f"{w:.0f} nm" if np.isfinite(w) else name for w, name in zip(centres, names, strict=True)]
    spread = evidence.spread.where(evidence.spread > 0)
    deviation = (evidence.difference / spread).values
    order = np.argsort(-np.abs(deviation), axis=1)[:, :count]
    return [
        ", ".join(f"{names[band]} ({row[band]:+.1f}σ)" for band in best if np.isfinite(row[band]))
        for row, best in zip(deviation, order, strict=True)
    ]


def top_parts(evidence: xr.Dataset) -> list[str]:
    """The parts of a detector that made each anomaly stand out, the most important first.

    Args:
        evidence: Of `gather_evidence`.

    Returns:
        Such as ``bs3lnet 62 %, rx 38 %``; empty where the detector has a single part.
    """
    if "share" not in evidence:
        return [""] * evidence.sizes["anomaly"]
    names = evidence.part.values
    return [
        ", ".join(f"{names[part]} {100 * row[part]:.0f} %" for part in np.argsort(-row) if row[part] >= _LEAST_SHARE)
        for row in evidence.share.values
    ]


def write_evidence(evidence: xr.Dataset, out: str | os.PathLike[str], *, overwrite: bool = False) -> Path:
    """Write evidence as NetCDF (classic, which every reader of NetCDF knows).

    Args:
        evidence: Of `gather_evidence`.
        out: The file.
        overwrite: Whether a file there may be replaced.

    Raises:
        OutputError: It cannot be written.
    """
    target = Path(out)
    check_output(target, overwrite=overwrite, option="--evidence")
    with written_beside(target, "--evidence") as part:
        evidence.to_netcdf(part, engine="scipy")
    return target
