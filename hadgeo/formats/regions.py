"""Where a detector learns: the pixels of a scene inside of a region and outside of another one.

A region is a raster or polygons on any grid, as a mask is. Unlike a mask it leaves the scene as it is, because pixels
that are not learned from are scored all the same.
"""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

from hadgeo.errors import RegionElsewhereError, RegionError
from hadgeo.formats.overlay import YES, Purpose, read_overlay
from hadgeo.formats.selected import PixelBits
from hadgeo.formats.source import Source

_BACKGROUND = Purpose(
    "background region", "scene", RegionError, touched=False, areas=True, opaque=True, elsewhere=RegionElsewhereError
)
_EXCLUDED = Purpose(
    "excluded region", "scene", RegionError, touched=False, areas=True, opaque=True, elsewhere=RegionElsewhereError
)


def keep_inside(left: PixelBits, source: Source, path: str | os.PathLike[str]) -> PixelBits:
    """Of some pixels of a scene those inside of a region.

    In a raster, 0, nodata and what lies outside of it are outside of the region. Of polygons, pixels whose middle lies
    inside are inside. Either is brought onto the scene's grid; see `hadgeo.formats.overlay.read_overlay`.

    Args:
        left: The pixels.
        source: The scene.
        path: The region.

    Raises:
        CubeNotFoundError: There is no such file.
        RegionElsewhereError: It has no pixel of the scene in it.
        RegionError: It cannot be read or brought onto the scene's grid, or none of its pixels was left before.
        ReadError: It is damaged.
        MissingExtraError: Polygons need pyogrio and shapely.
    """
    inside = _inside(source, path, _BACKGROUND)
    if not inside.count:
        raise RegionElsewhereError(
            f"{path}: no pixel of {source.path} lies in the background region, so there is nothing to learn from; "
            "pixels to learn from must be nonzero in a raster, or have their centre inside the polygons"
        )
    kept = left & inside
    if not kept.count:
        raise RegionError(
            f"{path}: the mask leaves no pixel of the background region in {source.path}, so there is nothing to learn "
            "from; choose a region that the mask leaves, or another mask"
        )
    return kept


def keep_outside(
    left: PixelBits, source: Source, path: str | os.PathLike[str], *, only: tuple[str, str] | None = None
) -> PixelBits:
    """Of some pixels of a scene those outside of a region: all that `keep_inside` would not keep.

    Args:
        left: The pixels.
        source: The scene.
        path: The region.
        only: A field of polygons, and the text that it has in those that count; all do, by default.

    Raises:
        CubeNotFoundError: There is no such file.
        RegionElsewhereError: It has no pixel of the scene in it.
        RegionError: It cannot be read or brought onto the scene's grid, or leaves nothing of what was left before.
        ReadError: It is damaged.
        MissingExtraError: Polygons need pyogrio and shapely.
    """
    inside = _inside(source, path, replace(_EXCLUDED, only=only))
    if not inside.count:
        raise RegionElsewhereError(
            f"{path}: no pixel of {source.path} lies in the excluded region; pixels to exclude must be nonzero in a "
            "raster, or have their centre inside the polygons: draw them larger, or omit the region"
        )
    kept = left - inside
    if not kept.count:
        raise RegionError(
            f"{path}: the excluded region contains all {left.count:,} pixels of {source.path} that could be learned "
            "from; choose a smaller one"
        )
    return kept


def _inside(source: Source, path: str | os.PathLike[str], purpose: Purpose) -> PixelBits:
    inside = PixelBits(source.shape[1:])
    for rows, classes in read_overlay(Path(path), source.metadata.grid, source.path, purpose):
        inside.put(rows, slice(0, source.shape[2]), classes == YES)
    return inside
