"""One picture of all flight lines of a mission: what they saw, their scores, their footprints and names."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
from affine import Affine
from rasterio.crs import CRS

from hadgeo.errors import CubeError
from hadgeo.files import check_output
from hadgeo.formats.source import Metadata, Source
from hadgeo.grid import Grid, Values
from hadgeo.maps.reader import ScoreMap, open_scores
from hadgeo.pictures.cartography import ground_of
from hadgeo.pictures.composite import colour_bands, read_colours, stretched
from hadgeo.pictures.figures import save_figure
from hadgeo.pictures.graticule import Graticule
from hadgeo.pictures.layout import lay_out
from hadgeo.pictures.outlines import Outlines, read_outlines
from hadgeo.pictures.overlay import grown, laid_over, pooled_scores, ramp_of
from hadgeo.pictures.page import Footprint, Page, ramp_colours
from hadgeo.pictures.quicklook import FORMATS, notes_on
from hadgeo.progress import SILENT, Progress, Stage

Floats = npt.NDArray[np.float32]

#: Width and height in pixels that the map may have.
_SIZE = 1400

#: Points on each side of a footprint, which another projection bends.
_SIDE_POINTS = 16


@dataclass(frozen=True)
class LineToDraw:
    """A flight line of an overview.

    Attributes:
        name: What is written beside it.
        scores: Its score map.
        scene: What it saw, or None where that is not known.
    """

    name: str
    scores: Path
    scene: Source | None = None


@dataclass(frozen=True)
class Overview:
    """What was drawn.

    Attributes:
        path: The picture.
        left_out: Names of lines that have no place on it, and why.
    """

    path: Path
    left_out: dict[str, str]


def overview(
    lines: Sequence[LineToDraw],
    out: str | os.PathLike[str],
    *,
    title: str,
    crs: CRS | None = None,
    polygons: str | os.PathLike[str] | None = None,
    overwrite: bool = False,
    progress: Progress = SILENT,
) -> Overview:
    """Draw flight lines north up on one map, later ones above earlier ones; of scores, the highest is shown.

    Pixels are taken to the nearest place for the eye alone; no file is resampled. Each line takes the memory of a
    picture.

    Args:
        lines: The lines.
        out: The picture, ``.png`` or ``.jpg``.
        title: The title.
        crs: Coordinate reference system of the map; that of the first line that has one by default.
        polygons: Vector file whose outlines are drawn.
        overwrite: Whether an existing picture may be replaced.
        progress: Follows the reading and may cancel it.

    Raises:
        CubeError: No line has a place.
        MissingExtraError: matplotlib, or for polygons pyogrio, is not installed.
        OutputError: The picture cannot be written.
        Cancelled: `progress` asked for it.
    """
    target = Path(out)
    check_output(target, overwrite=overwrite)
    opened = [(line, open_scores(line.scores)) for line in lines]
    placed = [(line, scores) for line, scores in opened if scores.grid.georeferenced and scores.crs is not None]
    names = {line.name for line, _ in placed}
    left_out = {line.name: "it has no coordinate reference system" for line in lines if line.name not in names}
    if not placed:
        raise CubeError(f"{target}: none of the {len(lines)} flight lines has a coordinate reference system")
    system = crs or placed[0][1].crs
    assert system is not None  # that of a line with a place
    frame = _frame([scores.grid for _, scores in placed], system)
    canvas = _Canvas(frame)
    progress.stage(Stage.COMPOSITE, len(placed))
    for line, scores in placed:
        canvas.draw(line, scores, progress)
        progress.advance()
    outlines = None if polygons is None else read_outlines(polygons, Metadata("", np.dtype("f4"), frame))
    _save(canvas, [Footprint(line.name, _ring(scores.grid, frame)) for line, scores in placed], outlines, title, target)
    return Overview(target, left_out)


def _save(
    canvas: _Canvas, footprints: Sequence[Footprint], outlines: Outlines | None, title: str, target: Path
) -> None:
    frame, graticule = canvas.frame, Graticule(canvas.frame)
    ground = ground_of(frame)
    layout = lay_out(frame.shape, 1.0, _SIZE)
    about = [f"{len(footprints)} flight lines", *canvas.colours, "highest score of each place"]
    if outlines is not None:
        about.append(f"{outlines.count} polygons")
    notes = notes_on(True, outlines, layout.cell[0])
    notes.append("Dashed: footprints of the flight lines; later ones lie above earlier ones.")
    page = Page(
        layout, frame.shape, title, "  ·  ".join(about), graticule=graticule, place=graticule.about, notes=notes
    )
    heights = np.zeros(frame.shape, dtype=np.float32)
    ramp = ramp_of(canvas.scores, layout.cell)
    if ramp is not None:
        heights = grown(ramp(canvas.scores), layout.cell)
        page.draw_ramp(ramp)
    image = laid_over(canvas.picture(), heights, ramp_colours())
    for panel in layout.panels:
        page.draw_panel(panel, image, outlines, footprints)
    page.draw_ground(ground)
    save_figure(page.figure, target, FORMATS[target.suffix.lower()])


class _Canvas:
    """Lines drawn into the cells of one grid.

    Attributes:
        frame: The grid.
        scores: The highest score of each cell, NaN where there is none.
        colours: What is drawn in red, green and blue, for people, each kind once.
    """

    def __init__(self, frame: Grid) -> None:
        self.frame = frame
        self.scores = np.full(frame.shape, np.nan, dtype=np.float32)
        self.colours: list[str] = []
        self._colours = np.full((*frame.shape, 3), np.nan, dtype=np.float32)

    def picture(self) -> Floats:
        """The composite, all lines stretched alike; grey where there are no colours."""
        if not np.isfinite(self._colours).any():
            return self._colours
        return stretched(self._colours)

    def draw(self, line: LineToDraw, scores: ScoreMap, progress: Progress) -> None:
        """Draw a line above those that are there."""
        own = scores.grid
        step = max(1, _cell_length(self.frame, own))
        pooled, seen = pooled_scores(scores, step), self._seen(line.scene, own, step, progress)
        for cells, row, col in self._cells(own, step, pooled.shape):
            self.scores[cells] = np.fmax(self.scores[cells], pooled[row, col])
            if seen is not None:
                new = seen[row, col]
                valid = np.isfinite(new).all(axis=1)
                self._colours[cells[0][valid], cells[1][valid]] = new[valid]
        self._draw_each(own, step, pooled)

    def _seen(self, scene: Source | None, own: Grid, step: int, progress: Progress) -> Floats | None:
        """The colours of a line's own cells, as many as its pooled scores; None where it has none of that grid."""
        if scene is None or not scene.metadata.grid.same_as(own, 0.5):
            return None
        bands = colour_bands(scene.metadata, scene.shape[0])
        if bands.label not in self.colours:
            self.colours.append(bands.label)
        return read_colours(scene, bands, step, progress=progress)

    def _draw_each(self, own: Grid, step: int, pooled: Floats) -> None:
        """Each of a line's own cells goes somewhere too, so that a hot one is never skipped."""
        row, col = np.nonzero(np.isfinite(pooled))
        middle = (
            np.minimum((axis + 0.5) * step, length) for axis, length in zip((col, row), own.shape[::-1], strict=True)
        )
        cols, rows = self.frame.to_pixels(*_moved(own, self.frame, *own.to_map(*middle)))
        height, width = self.frame.shape
        at = np.clip(rows, 0, height - 1).astype(np.intp), np.clip(cols, 0, width - 1).astype(np.intp)
        np.fmax.at(self.scores, at, pooled[row, col])

    def _cells(
        self, own: Grid, step: int, shape: tuple[int, ...]
    ) -> Iterator[tuple[tuple[npt.NDArray[np.intp], npt.NDArray[np.intp]], npt.NDArray[np.intp], npt.NDArray[np.intp]]]:
        """Cells of the frame in a line, a strip at a time, with the row and the column of its own cell in each."""
        ring = _ring(own, self.frame)
        left, top = np.floor(ring.min(axis=0)).clip(0).astype(int)
        right, bottom = np.ceil(ring.max(axis=0)).astype(int)
        for first in range(top, min(bottom, self.frame.shape[0]), 64):
            rows, cols = np.mgrid[
                first : min(first + 64, bottom, self.frame.shape[0]), left : min(right, self.frame.shape[1])
            ]
            rows, cols = rows.ravel(), cols.ravel()
            x, y = _moved(self.frame, own, *self.frame.to_map(cols + 0.5, rows + 0.5))
            col, row = own.to_pixels(x, y)
            inside = (col >= 0) & (col < own.shape[1]) & (row >= 0) & (row < own.shape[0])
            own_row, own_col = (axis[inside].astype(np.intp) // step for axis in (row, col))
            yield (rows[inside], cols[inside]), np.minimum(own_row, shape[0] - 1), np.minimum(own_col, shape[1] - 1)


def _frame(grids: Sequence[Grid], crs: CRS) -> Grid:
    """A north-up grid around all lines with cells that are square on the ground, none smaller than their pixels."""
    common = Grid((1, 1), crs, Affine.identity())
    rings = [np.column_stack(_moved(grid, common, *grid.to_map(*_edge(grid).T))) for grid in grids]
    corners = np.concatenate(rings)
    if not np.isfinite(corners).all():
        raise CubeError(f"the flight lines extend beyond the validity of {crs.to_string()}")
    (left, bottom), (right, top) = corners.min(axis=0), corners.max(axis=0)
    whole = Grid((1, 1), crs, Affine(right - left, 0, left, 0, bottom - top, top))
    width, height = whole.pixel_size() or whole.cell
    finest = min(min(grid.pixel_size() or grid.cell) for grid in grids)
    cell = max(max(width, height) / _SIZE, finest)
    shape = (max(1, round(height / cell)), max(1, round(width / cell)))
    return Grid(shape, crs, Affine((right - left) / shape[1], 0, left, 0, (bottom - top) / shape[0], top))


def _edge(grid: Grid) -> Values:
    """Columns and rows along the border of a grid, (point, 2)."""
    rows, cols = grid.shape
    way = np.linspace(0, 1, _SIDE_POINTS, endpoint=False)
    sides = [(way, 0 * way), (0 * way + 1, way), (1 - way, 0 * way + 1), (0 * way, 1 - way)]
    edge: Values = np.concatenate([np.column_stack(side) for side in sides]) * (cols, rows)
    return edge


def _ring(grid: Grid, frame: Grid) -> Values:
    """The border of a line in columns and rows of the frame, (point, 2)."""
    return np.column_stack(frame.to_pixels(*_moved(grid, frame, *grid.to_map(*_edge(grid).T))))


def _cell_length(frame: Grid, own: Grid) -> int:
    """How many pixels of a line are as long as a cell of the frame, at most."""
    return int((frame.pixel_size() or frame.cell)[0] / max(own.pixel_size() or own.cell) + 1e-6)


def _moved(own: Grid, other: Grid, x: Values, y: Values) -> tuple[Values, Values]:
    assert own.crs is not None  # only lines with a place are drawn
    return other.from_system(own.crs.to_wkt(), x, y)
