"""One small picture of each anomaly's spectrum: what was measured, what was expected, and the difference shaded."""

from __future__ import annotations

import io
import os
import re
import time
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import xarray as xr

from hadgeo.errors import Cancelled, OutputError, OutputExistsError
from hadgeo.files import begun, check_name, ended, writing
from hadgeo.pictures.figures import new_figure, save_figure
from hadgeo.progress import SILENT, Progress, Stage

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_NAME = re.compile(r"anomaly_\d+\.png")

#: How many anomalies get a picture, where nothing else is said: each takes a good part of a second.
MOST = 100

#: Bands of the spectrum that is drawn to see how long that takes.
_TRIAL_BANDS = 200

#: A step between bands that is so many times the usual one is a gap.
_GAP_STEPS = 3.0

_SUPERSCRIPT = str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")

_MEASURED, _EXPECTED = "#b2182b", "#2166ac"


def spectra_plots(
    evidence: xr.Dataset,
    folder: str | os.PathLike[str],
    *,
    overwrite: bool = False,
    limit: int = MOST,
    progress: Progress = SILENT,
) -> list[Path]:
    """Draw the spectrum of each anomaly.

    Args:
        evidence: Of `hadgeo.evidence.gather.gather_evidence`, the rarest anomaly first.
        folder: Where to; made if it is missing. The pictures are called ``anomaly_<id>.png``.
        overwrite: Whether the folder may hold something already; pictures of an earlier run are then replaced.

        limit: Of how many anomalies, the first of them.
        progress: Follows the work and may cancel it.

    Returns:
        The pictures, in the order of the anomalies.

    Raises:
        MissingExtraError: matplotlib is not installed.
        OutputError: They cannot be written; see `check_folder`.
        Cancelled: `progress` asked for it; no picture of this run is left.
    """
    home = Path(folder)
    check_folder(home, overwrite=overwrite)
    old = {path for path in home.glob("*.png") if _NAME.fullmatch(path.name)}
    count = evidence.sizes["anomaly"]
    if count > limit:
        progress.message(f"spectra of the rarest {limit:,} of {count:,} anomalies are plotted, which is their limit")
    made = not home.exists()
    pictures: list[Path] = []
    progress.stage(Stage.SPECTRA, min(count, limit))
    try:
        for i in range(min(count, limit)):
            if progress.cancelled():
                raise Cancelled("stopped on request")
            figure = draw_spectrum(evidence.isel(anomaly=i))
            with writing(home, "--spectra"):
                home.mkdir(exist_ok=True)
            if made and not pictures:
                begun(home)
            out = home / f"anomaly_{int(evidence.id[i])}.png"
            pictures.append(out)
            save_figure(figure, out, "png", option="--spectra")
            progress.advance()
    except BaseException:
        _undo(pictures, home if made else None)
        raise
    for path in old - set(pictures):
        path.unlink()
    if made:
        ended(home)
    return pictures


def _undo(pictures: list[Path], made: Path | None) -> None:
    """Remove the pictures of a run that does not come to its end, and the folder that it has made for them."""
    with suppress(OSError):
        for path in pictures:
            path.unlink(missing_ok=True)
        if made is not None:
            made.rmdir()
            ended(made)


def expected_seconds(count: int) -> float:
    """How long so many pictures take here, from two of them that nobody sees.

    Raises:
        MissingExtraError: matplotlib is not installed.
    """
    band = np.arange(1, _TRIAL_BANDS + 1)
    flat = ("band", np.linspace(0.0, 1.0, band.size))
    anomaly = xr.Dataset(
        {
            **dict.fromkeys(("spectrum", "expected", "spread"), flat),
            "chip": (("chip_row", "chip_col", "rgba"), np.zeros((25, 25, 4)), {"long_name": "trial"}),
        },
        coords={"band": band, "id": 1, "pixels": 1, "row": 0.0, "col": 0.0},
    )
    seconds = 0.0
    # The first one also pays for what is only done once.
    for _ in range(2):
        start = time.perf_counter()
        draw_spectrum(anomaly).savefig(io.BytesIO(), format="png")
        seconds = time.perf_counter() - start
    return count * seconds


def check_folder(folder: Path, *, overwrite: bool) -> None:
    """Refuse early a folder that could not be filled late.

    Raises:
        OutputExistsError: Something is in it, and `overwrite` is false.
        OutputError: It is a file, or cannot be made or written into.
    """
    check_name(folder, "--spectra")
    if folder.exists() and not folder.is_dir():
        raise OutputError(f"{folder} is a file; name a folder for the plots")
    if not folder.exists() and not folder.parent.is_dir():
        raise OutputError(f"{folder}: the folder {folder.parent} does not exist; create it first, or name another")
    if not os.access(folder if folder.exists() else folder.parent, os.W_OK):
        raise OutputError(f"{folder}: no permission to write there; name another folder")
    if folder.exists() and any(folder.iterdir()) and not overwrite:
        raise OutputExistsError(f"{folder} is not empty; use --overwrite to write into it, or name another folder")


def draw_spectrum(anomaly: xr.Dataset) -> Figure:
    """Draw one anomaly.

    Args:
        anomaly: Evidence of a single one, without the dimension ``anomaly``.

    Returns:
        A figure of 800 x 360 pixels.
    """
    figure = new_figure(800, 360)
    axes = figure.add_axes((0.1, 0.15, 0.62, 0.57))
    has_wavelength = "wavelength" in anomaly.coords
    position = (anomaly.wavelength if has_wavelength else anomaly.band).values.astype(np.float64)
    curves = {
        name: _with_gaps(anomaly[name].values, position, anomaly.band.values)
        for name in ("spectrum", "expected", "spread")
    }
    at = _with_gaps(position, position, anomaly.band.values)
    measured, expected = curves["spectrum"], curves["expected"]
    axes.fill_between(
        at, expected - curves["spread"], expected + curves["spread"], color=_EXPECTED, alpha=0.18, lw=0, label="usual"
    )
    axes.fill_between(at, expected, measured, color=_MEASURED, alpha=0.22, lw=0, label="difference")
    axes.plot(at, expected, color=_EXPECTED, lw=1.4, label="expected background")
    axes.plot(at, measured, color=_MEASURED, lw=1.6, label="measured")
    axes.set_xlabel("wavelength (nm)" if has_wavelength else "band")
    axes.set_ylabel(anomaly.spectrum.attrs.get("quantity", "value"), parse_math=False)
    axes.margins(x=0.01)
    axes.grid(color="0.9", lw=0.7)
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)
    axes.tick_params(labelsize=9, color="0.6")
    axes.legend(fontsize=8, frameon=False, loc="lower left", bbox_to_anchor=(-0.01, 0.99), ncols=4)
    _head(figure, anomaly)
    _draw_chip(figure, anomaly.chip)
    return figure


def _draw_chip(figure: Figure, chip: xr.DataArray) -> None:
    """The anomaly in its surroundings, between four marks that leave it to be seen."""
    axes = figure.add_axes((0.745, 0.17, 0.235, 0.52))
    axes.imshow(chip.values.astype(np.uint8), interpolation="nearest")
    middle = chip.shape[0] // 2
    for down, right in ((0, 1), (0, -1), (1, 0), (-1, 0)):
        near, far = ((middle + down * away, middle + right * away) for away in (3, 6))
        axes.plot([near[1], far[1]], [near[0], far[0]], color=_MEASURED, lw=1.4)
    axes.set_xticks([])
    axes.set_yticks([])
    axes.set_facecolor("0.88")
    axes.set_xlabel(chip.attrs["long_name"].replace(", ", "\n"), fontsize=8, color="0.35")


def _head(figure: Figure, anomaly: xr.Dataset) -> None:
    figure.text(0.02, 0.935, f"Anomaly {int(anomaly.id)}", fontsize=12, fontweight="bold")
    figure.text(0.98, 0.935, "  ·  ".join(_facts(anomaly)), fontsize=9, color="0.35", ha="right", parse_math=False)
    scene = "  ·  ".join(filter(None, [anomaly.attrs.get("scene", ""), _place(anomaly)]))
    figure.text(0.98, 0.88, scene, fontsize=9, color="0.35", ha="right", parse_math=False)
    best = str(anomaly.top_bands.values) if "top_bands" in anomaly else ""
    if best:
        figure.text(0.02, 0.825, f"Stands out most at {best}", fontsize=8)


def _facts(anomaly: xr.Dataset) -> list[str]:
    """How large and how rare it is."""
    pixels = int(anomaly.pixels)
    facts = [f"{pixels:,} pixel{'s' if pixels != 1 else ''}"]
    if "max_score" in anomaly.coords:
        facts.append(f"score {float(anomaly.max_score):.4g}")
    if "p_value" in anomaly.coords and np.isfinite(anomaly.p_value):
        facts.append(f"p = {power_of_ten(float(anomaly.p_value))}")
    return facts


def _place(anomaly: xr.Dataset) -> str:
    if "longitude" in anomaly.coords and np.isfinite([anomaly.latitude, anomaly.longitude]).all():
        return f"{_degrees(float(anomaly.latitude), 'NS')}, {_degrees(float(anomaly.longitude), 'EW')}"
    return f"row {float(anomaly.row):.0f}, column {float(anomaly.col):.0f}"


def _degrees(angle: float, letters: str) -> str:
    return f"{abs(angle):.5f}° {letters[angle < 0]}"


def power_of_ten(value: float) -> str:
    """A number above 0 as people write it: 0.012, and 1.2 × 10⁻⁵ where that is shorter to read.

    Examples:
        >>> power_of_ten(1.23e-5)
        '1.2 × 10⁻⁵'
    """
    if not 0 < value < 1e-3:
        return f"{value:.2g}"
    digits, power = f"{value:.1e}".split("e")
    return f"{digits} × 10{str(int(power)).translate(_SUPERSCRIPT)}"


def _with_gaps(
    values: npt.NDArray[np.floating[Any]], position: npt.NDArray[np.float64], band: npt.NDArray[np.integer[Any]]
) -> npt.NDArray[np.float64]:
    """Put a NaN wherever bands are left out, so that no line is drawn across."""
    step = np.diff(position)
    usual = np.median(np.abs(step[np.isfinite(step)])) if np.isfinite(step).any() else 0.0
    gaps = np.flatnonzero((np.diff(band) > 1) | (np.abs(step) > _GAP_STEPS * usual)) + 1
    return np.insert(values.astype(np.float64), gaps, np.nan)
