"""How to read a file that does not state something, or states it wrongly."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Literal

#: What `Reading.quality` may name; a product has some of them.
QUALITY = ("cloud", "cirrus", "shadow", "water", "snow", "haze", "saturation", "defect")


@dataclass(frozen=True)
class Reading:
    """What a user knows about a file, for its format to follow.

    A format that has no use for one of these ignores it; what it had to guess goes to `Metadata.assumed`.

    Attributes:
        variable: Name of the array to read as the cube, in a file or folder with several arrays.
        band_axis: Band axis of that array, 0 being the first in the order in which messages show its shape; None
            finds it from names of dimensions, a wavelength array of that length, or the product's documentation.
        place: Whether ``map info`` of an ENVI header is interpreted as ENVI defines it, or as GDAL does, which rotates
            about another point.
        fill: A fill value in stored units; ``"find"`` looks for one where the file names none, or one that no corner
            holds; ``"none"`` believes the file alone.
        quality: Names out of `QUALITY`: pixels that a product's own quality layers mark so become nodata.

    Examples:
        >>> hadgeo.open_cube("scene.mat", reading=Reading(variable="cube", band_axis=2, fill=-1))
    """

    variable: str | None = None
    band_axis: int | None = None
    place: Literal["header", "gdal"] = "header"
    fill: float | Literal["find", "none"] = "find"
    quality: tuple[str, ...] = ()

    def differing(self) -> str:
        """What differs from a file as it says itself, for people; an empty text where nothing does."""
        told = ((f.name.replace("_", " "), getattr(self, f.name), f.default) for f in fields(self))
        return ", ".join(f"{name} {value}" for name, value, default in told if value != default)


#: A file as it says itself.
AS_IT_SAYS = Reading()
