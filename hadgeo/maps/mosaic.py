"""Many score maps as one: a GDAL virtual raster that refers to them, pixel by pixel, with nothing resampled."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple
from xml.etree import ElementTree

from hadgeo.errors import OutputError
from hadgeo.files import check_name, check_output, written_beside
from hadgeo.grid import Grid
from hadgeo.maps.reader import ScoreMap, open_scores

#: What names a mosaic on the command line.
_OPTION = "--mosaic"

#: By which a mosaic of ours is known, and replaced without a question.
_MARK = "HADGEO_MOSAIC"

#: Digits in which two grids' steps agree: a thousandth of a pixel at the end of a line of 100,000.
_DIGITS = 8


class _Kind(NamedTuple):
    """What maps must share for one raster to hold them."""

    crs: str
    steps: tuple[str, ...]


@dataclass(frozen=True)
class Mosaic:
    """What was made.

    Attributes:
        path: The virtual raster.
        shape: Its rows and columns.
        maps: The maps in it, later ones above earlier ones.
        left_out: Maps that are not in it, and why.
        shift: How far a map lies off its true place at most, in pixels: maps on grids that are a fraction of a pixel
            apart go to the nearest whole one.
    """

    path: Path
    shape: tuple[int, int]
    maps: tuple[Path, ...]
    left_out: dict[Path, str] = field(default_factory=dict)
    shift: float = 0.0


def check_mosaic(out: Path, inputs: Iterable[Path], *, overwrite: bool) -> None:
    """Refuse early what could not be written late; a mosaic of hadgeo's may be replaced.

    Raises:
        OutputError: See `hadgeo.files.check_output`.
    """
    if out.suffix.lower() != ".vrt":
        raise OutputError(f"{out}: a mosaic is a virtual raster; give it a name ending in .vrt")
    check_name(out, _OPTION)
    ours = out.is_file() and _MARK.encode() in out.read_bytes()[:4096]
    check_output(out, inputs=inputs, overwrite=overwrite or ours, option=_OPTION)


def make_mosaic(
    maps: Sequence[str | os.PathLike[str]], out: str | os.PathLike[str], *, overwrite: bool = False
) -> Mosaic:
    """Refer to score maps on one grid from one virtual raster.

    Maps whose coordinate reference system, pixel size or rotation is not that of most of them are left out, since they
    would have to be resampled. Where maps overlap, the later one is seen, except where it has no score.

    Args:
        maps: The maps.
        out: The virtual raster, ``.vrt``.
        overwrite: Whether a file there that is no mosaic may be replaced.

    Returns:
        What is in it, and what is not.

    Raises:
        OutputError: No map has a place on the ground, or the mosaic cannot be written.
        CubeError: A map is no score map.

    Examples:
        >>> make_mosaic(["maps/line1_anomaly.tif", "maps/line2_anomaly.tif"], "maps/mosaic.vrt").shape
        (2000, 900)
    """
    target = Path(out)
    check_mosaic(target, [Path(path) for path in maps], overwrite=overwrite)
    opened = [open_scores(path) for path in maps]
    kinds = {one.path: _kind(one.grid) for one in opened}
    common = Counter(kind for kind in kinds.values() if kind is not None).most_common(1)
    if not common:
        raise OutputError(f"{target}: none of the {len(opened)} maps is georeferenced; omit --mosaic")
    placed = [one for one in opened if kinds[one.path] == common[0][0]]
    left_out = {one.path: _reason(kinds[one.path], common[0][0]) for one in opened if one not in placed}
    first = placed[0].grid
    exact = [first.to_pixels(*one.grid.to_map(0.0, 0.0)) for one in placed]
    places = [(round(col), round(row)) for col, row in exact]
    shift = max(max(abs(a - b) for a, b in zip(*pair, strict=True)) for pair in zip(exact, places, strict=True))
    left, top = min(col for col, _ in places), min(row for _, row in places)
    offsets = [(col - left, row - top) for col, row in places]
    width = max(col + one.shape[1] for (col, _), one in zip(offsets, placed, strict=True))
    height = max(row + one.shape[0] for (_, row), one in zip(offsets, placed, strict=True))
    grid = first.window(slice(top, top + height), slice(left, left + width))
    tree = _document(placed, offsets, grid, target)
    with written_beside(target, _OPTION) as part:
        tree.write(part)
    return Mosaic(target, (height, width), tuple(one.path for one in placed), left_out, shift)


def _kind(grid: Grid) -> _Kind | None:
    if grid.transform is None:
        return None
    t = grid.transform
    size = max(abs(value) for value in (t.a, t.b, t.d, t.e))
    steps = tuple(f"{value / size:.{_DIGITS}f}" for value in (t.a, t.b, t.d, t.e))
    return _Kind("" if grid.crs is None else grid.crs.to_wkt(), (f"{size:.{_DIGITS}g}", *steps))


def _reason(kind: _Kind | None, common: _Kind) -> str:
    if kind is None:
        return "it is not georeferenced"
    what = "coordinate reference system" if kind.crs != common.crs else "pixel size or rotation"
    return f"its {what} differs from that of most maps, so it would have to be resampled"


def _document(
    maps: Sequence[ScoreMap],
    offsets: Sequence[tuple[int, int]],
    grid: Grid,
    target: Path,
) -> ElementTree.ElementTree[ElementTree.Element]:
    root = ElementTree.Element("VRTDataset", rasterXSize=str(grid.shape[1]), rasterYSize=str(grid.shape[0]))
    if grid.crs is not None:
        ElementTree.SubElement(root, "SRS").text = grid.crs.to_wkt()
    ElementTree.SubElement(root, "GeoTransform").text = ", ".join(repr(value) for value in grid.affine.to_gdal())
    metadata = ElementTree.SubElement(root, "Metadata")
    ElementTree.SubElement(metadata, "MDI", key=_MARK).text = "1"
    band = ElementTree.SubElement(root, "VRTRasterBand", dataType="Float32", band="1")
    ElementTree.SubElement(band, "NoDataValue").text = "nan"
    for one, (col, row) in zip(maps, offsets, strict=True):
        rows, cols = map(str, one.shape)
        source = ElementTree.SubElement(band, "ComplexSource")
        name, relative = _reference(one.path, target)
        ElementTree.SubElement(source, "SourceFilename", relativeToVRT=relative).text = name
        ElementTree.SubElement(source, "SourceBand").text = "1"
        ElementTree.SubElement(source, "SrcRect", xOff="0", yOff="0", xSize=cols, ySize=rows)
        ElementTree.SubElement(source, "DstRect", xOff=str(col), yOff=str(row), xSize=cols, ySize=rows)
        # Without it a map's empty corners would hide the one below.
        ElementTree.SubElement(source, "NODATA").text = "nan"
    ElementTree.indent(root)
    return ElementTree.ElementTree(root)


def _reference(path: Path, target: Path) -> tuple[str, str]:
    """How a mosaic names a map: relative where it can, so that both may move together."""
    try:
        return path.absolute().relative_to(target.absolute().parent).as_posix(), "1"
    except ValueError:
        return str(path.absolute()), "0"
