"""The pictures of the page, as data in the page itself: the scene to pan and zoom, its scores, and sheets of chips."""

from __future__ import annotations

import base64
import io
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from hadgeo.errors import BandError, MissingExtraError
from hadgeo.evidence.anomaly import Anomaly
from hadgeo.evidence.chip import Frame, read_chip
from hadgeo.evidence.gather import middle_of
from hadgeo.formats.glt import Glt
from hadgeo.formats.source import Source
from hadgeo.maps.reader import ScoreMap
from hadgeo.pictures.composite import ColourBands, colour_bands, read_colours, stretched
from hadgeo.pictures.overlay import Ramp, pooled_scores, ramp_of
from hadgeo.pictures.page import ramp_colours
from hadgeo.progress import Progress, Stage

#: Cells of the pictures of all lines together: each takes about three bytes of the page for all of its pictures.
CELLS = 3_000_000

#: Cells of one line at least, so that it can be recognised among many.
_LEAST_CELLS = 40_000

#: Side of a piece of a picture; browsers and formats bound it.
_TILE = 2048

#: Pixels of a chip's side, and chips in a row of their sheet.
CHIP, _COLUMNS = 40, 20

#: Larger anomalies fill this share of their chip.
_FILLED = 0.7

#: A picture in the infrared that people who look at vegetation know, in nm.
_INFRARED = "860,650,550nm"

#: Percentiles of the scores at which the ramp of a chip is even; also its labels.
_CHIP_PERCENTILES = (0.0, 50.0, 90.0, 99.0, 99.9, 100.0)

#: Percentiles of the colours of a picture that become black and white.
_STRETCH = (2.0, 98.0)

#: Up to this height of the ramp the overlay fades out.
_OPAQUE_FROM = 0.4


@dataclass(frozen=True)
class Look:
    """One way to show the scene.

    Attributes:
        key: For programs.
        label: For people.
        bands: What is drawn.
    """

    key: str
    label: str
    bands: ColourBands


def looks_of(source: Source) -> list[Look]:
    """The ways in which a scene can be shown: true colour, or what stands for it, and colour infrared."""
    metadata, total = source.metadata, source.shape[0]
    colours = colour_bands(metadata, total)
    looks = [Look("colour", colours.label, colours)]
    if metadata.wavelength is not None:
        try:
            bands = colour_bands(metadata, total, _INFRARED)
        except BandError:
            return looks
        looks.append(Look("infrared", bands.label.replace("false colour", "colour infrared"), bands))
    return looks


def step_of(shape: tuple[int, int], lines: int) -> int:
    """Rows and columns of a scene in one cell of its picture.

    Args:
        shape: Rows and columns of the scene.
        lines: Among how many the page is shared.
    """
    return max(1, math.ceil(math.sqrt(shape[0] * shape[1] / max(_LEAST_CELLS, CELLS / lines))))


def scene_picture(
    source: Source, look: Look, step: int, glt: Glt | None, progress: Progress
) -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.float64]]:
    """A scene in colours, every `step`-th pixel.

    Args:
        source: The scene.
        look: What is drawn.
        step: See `step_of`.
        glt: What leads to the map on which it is shown, or None for its own grid.
        progress: Counts rows, and may cancel.

    Returns:
        (y, x, 4), transparent without data, and the values of black and white of each colour, (2, 3).
    """
    progress.stage(Stage.COMPOSITE, -(-source.shape[1] // step))
    colours = read_colours(source, look.bands, step, progress=progress)
    if glt is not None:
        colours = _on_map(colours, step, glt)
    picture = stretched(colours, _STRETCH)
    opaque = np.isfinite(picture).all(axis=2)
    out = np.zeros((*opaque.shape, 4), dtype=np.uint8)
    out[..., :3] = np.rint(255 * np.nan_to_num(picture))
    out[..., 3] = 255 * opaque
    return out, np.percentile(colours[opaque], _STRETCH, axis=0)


def _on_map(colours: npt.NDArray[np.float32], step: int, glt: Glt) -> npt.NDArray[np.float32]:
    """Every `step`-th pixel of a map, from every `step`-th one in the sensor's geometry."""
    rows, cols = glt.grid.shape
    at = np.minimum(np.arange(0, cols, step) + step // 2, cols - 1)
    out = np.full((-(-rows // step), at.size, 3), np.nan, dtype=np.float32)
    chosen = np.minimum(np.arange(0, rows, step) + step // 2, rows - 1)
    for strip in glt.strips():
        here = np.flatnonzero((chosen >= strip.start) & (chosen < strip.stop))
        if here.size:
            own_rows, own_cols = (table[chosen[here] - strip.start][:, at] for table in glt.read(strip))
            seen = colours[np.maximum(own_rows, 0) // step, np.maximum(own_cols, 0) // step]
            out[here] = np.where((own_rows >= 0)[..., None], seen, np.nan)
    return out


@dataclass(frozen=True)
class ScorePicture:
    """The highest scores of the cells of a picture.

    Attributes:
        overlay: (y, x, 4), transparent where scores are ordinary.
        legend: The ramp's scores, their heights and labels; None where all scores are alike.
        chip_ramp: From scores to heights in chips, where ordinary ones are seen too.
    """

    overlay: npt.NDArray[np.uint8]
    legend: Ramp | None
    chip_ramp: Ramp


def score_picture(scores: ScoreMap, step: int, progress: Progress) -> ScorePicture:
    """Read all scores of a map, and colour the rarest."""
    progress.stage(Stage.SCORES, scores.shape[0])
    pooled = pooled_scores(scores, step, progress=progress)
    ramp = ramp_of(pooled, (np.inf, np.inf))
    heights = np.zeros(pooled.shape, dtype=np.float32) if ramp is None else ramp(pooled)
    overlay = np.zeros((*pooled.shape, 4), dtype=np.uint8)
    overlay[..., :3] = _coloured(heights)
    overlay[..., 3] = np.rint(255 * np.minimum(heights / _OPAQUE_FROM, 1))
    overlay[overlay[..., 3] == 0] = 0
    return ScorePicture(overlay, ramp, _wide_ramp(pooled))


def _wide_ramp(pooled: npt.NDArray[np.float32]) -> Ramp:
    finite = pooled[np.isfinite(pooled)]
    if not finite.size:
        return Ramp((0.0,), (0.0,), ("",))
    scores = np.unique(np.percentile(finite, _CHIP_PERCENTILES))
    return Ramp(tuple(scores.tolist()), tuple(np.linspace(0, 1, scores.size).tolist()), ("",) * scores.size)


def _coloured(heights: npt.NDArray[np.float32]) -> npt.NDArray[np.uint8]:
    colours = np.rint(255 * ramp_colours()).astype(np.uint8)
    taken: npt.NDArray[np.uint8] = colours[np.rint(heights * (len(colours) - 1)).astype(np.intp)]
    return taken


def legend_of(ramp: Ramp | None) -> list[dict[str, Any]]:
    """The ramp for the page: scores, labels and colours."""
    if ramp is None:
        return []
    colours = _coloured(np.array(ramp.heights, dtype=np.float32)).tolist()
    return [
        {"score": score, "label": label, "colour": "#{:02x}{:02x}{:02x}".format(*colour)}
        for score, label, colour in zip(ramp.scores, ramp.labels, colours, strict=True)
    ]


def frame_of(anomaly: Anomaly) -> Frame:
    """What the chip of an anomaly shows: its surroundings, at a step at which all of it can be seen."""
    extent = max(int(np.ptp(axis)) + 1 for axis in (anomaly.rows, anomaly.cols))
    step = max(1, math.ceil(extent / (_FILLED * CHIP)))
    if step == 1:
        return Frame.around(*middle_of(anomaly), CHIP)
    row, col = (int(axis.min() + axis.max()) // 2 for axis in (anomaly.rows, anomaly.cols))
    return Frame.around(row, col, CHIP, step)


def colour_sheet(source: Source, look: Look, frames: Sequence[Frame], limits: npt.NDArray[np.float64]) -> str:
    """The chips of a scene's anomalies side by side, as data of a picture.

    Args:
        source: The scene.
        look: What is drawn.
        frames: What the chips show.
        limits: Black and white of the scene's picture; see `scene_picture`.
    """
    return encoded(_sheet(read_chip(source, look.bands, frame, limits) for frame in frames), exact=True)


def score_sheet(scores: ScoreMap, ramp: Ramp, frames: Sequence[Frame]) -> str:
    """The chips of a map likewise; of each step, the highest score."""
    return encoded(_sheet(_score_chip(scores, ramp, frame) for frame in frames), exact=True)


def _score_chip(scores: ScoreMap, ramp: Ramp, frame: Frame) -> npt.NDArray[np.uint8]:
    rows, cols = frame.inside(scores.shape)
    chip = np.zeros((frame.side, frame.side, 4), dtype=np.uint8)
    if rows.start >= rows.stop or cols.start >= cols.stop:
        return chip
    framed = frame.place(scores.read(rows, cols), rows, cols)
    cells = framed.reshape(frame.side, frame.step, frame.side, frame.step).swapaxes(1, 2)
    highest = np.fmax.reduce(cells.reshape(frame.side, frame.side, -1), axis=2).astype(np.float32)
    chip[..., :3] = _coloured(ramp(highest))
    chip[..., 3] = 255 * np.isfinite(highest)
    return chip


def _sheet(chips: Iterator[npt.NDArray[np.uint8]]) -> npt.NDArray[np.uint8]:
    every = list(chips)
    rows = -(-len(every) // _COLUMNS)
    sheet = np.zeros((max(rows, 1) * CHIP, _COLUMNS * CHIP, 4), dtype=np.uint8)
    for number, chip in enumerate(every):
        top, left = number // _COLUMNS * CHIP, number % _COLUMNS * CHIP
        sheet[top : top + CHIP, left : left + CHIP] = chip
    return sheet


def tiles(picture: npt.NDArray[np.uint8], step: int) -> list[dict[str, Any]]:
    """A picture in pieces, each with its place.

    Args:
        picture: (y, x, 4).
        step: Rows and columns of the scene in one of its cells.

    Returns:
        For each piece its data, and the columns and rows of the scene from ``left``, ``top`` to ``right``, ``bottom``.
    """
    return [
        {
            "src": encoded(picture[top : top + _TILE, left : left + _TILE]),
            "left": left * step,
            "top": top * step,
            "right": min(left + _TILE, picture.shape[1]) * step,
            "bottom": min(top + _TILE, picture.shape[0]) * step,
        }
        for top in range(0, picture.shape[0], _TILE)
        for left in range(0, picture.shape[1], _TILE)
    ]


def encoded(picture: npt.NDArray[np.uint8], *, exact: bool = False) -> str:
    """A picture as a data URI.

    Args:
        picture: (y, x, 4).
        exact: Every pixel as it is, rather than small.
    """
    try:
        from matplotlib.image import imsave
    except ImportError as error:
        raise MissingExtraError('pictures need matplotlib; install it with pip install "hadgeo[report]"') from error
    content = io.BytesIO()
    options = {"lossless": True, "quality": 60} if exact else {"quality": 82}
    # WebP keeps transparency, and is half as large as JPEG.
    imsave(content, picture, format="webp", pil_kwargs=options)
    return "data:image/webp;base64," + base64.b64encode(content.getvalue()).decode("ascii")
