"""Families of files, and the choice between them: hadgeo's own, and those that other packages announce."""

from __future__ import annotations

import math
import os
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

from hadgeo.errors import CubeError, CubeNotFoundError, ExtensionWarning, refusing
from hadgeo.extensions import Registry
from hadgeo.formats.gdal import exists, is_no_path
from hadgeo.formats.mask_bands import without_masks
from hadgeo.formats.reading import AS_IT_SAYS, Reading
from hadgeo.formats.source import BandSubset, Source
from hadgeo.formats.undeclared_fill import with_fill

#: Where other packages announce formats of theirs: ``name = "package.module:FORMAT"``.
ENTRY_POINT_GROUP = "hadgeo.formats"

#: hadgeo's own, in the order in which they are asked: what knows one product before what knows its container.
BUILT_IN = {
    "emit": "hadgeo.formats.products.emit:EMIT",
    "enmap": "hadgeo.formats.products.enmap:ENMAP",
    "desis": "hadgeo.formats.products.desis:DESIS",
    "prisma": "hadgeo.formats.products.prisma:PRISMA",
    "pace": "hadgeo.formats.products.pace:PACE",
    "neon": "hadgeo.formats.products.neon:NEON",
    "tanager": "hadgeo.formats.products.tanager:TANAGER",
    "aviris": "hadgeo.formats.products.aviris:AVIRIS",
    "envi": "hadgeo.formats.envi:ENVI",
    "matlab": "hadgeo.formats.matlab:MATLAB",
    "containers": "hadgeo.formats.containers:CONTAINER",
    "gdal": "hadgeo.formats.raster:GDAL",
}


class Format(Protocol):
    """A family of files.

    Attributes:
        title: What it is called, for people, such as "EMIT L2A reflectance".
    """

    title: str

    def claims(self, name: str) -> bool:
        """Whether a file or folder is of this family, from its name and its first bytes; cheap, and never raises.

        Args:
            name: A path that exists, or a name that GDAL alone understands.
        """

    def open(self, name: str, reading: Reading) -> Source:
        """Open a cube without reading its samples.

        Args:
            name: As for `claims`, which has said yes.
            reading: What the user says of it.

        Raises:
            CubeNotFoundError: A part of it does not exist.
            CubeError: It cannot be used as a cube.
            MissingExtraError: It needs an optional dependency.
        """


#: What to do with a file over which a library stumbles.
_ADVICE = "it is damaged or of another kind: copy or save it again"


def _flaw(_name: str, loaded: object) -> str:
    """What keeps an object from being a format; an empty text if nothing does."""
    if isinstance(loaded, type):
        return "it is a class; register an instance of it"
    if not isinstance(getattr(loaded, "title", None), str):
        return "it has no title"
    missing = [name for name in ("claims", "open") if not callable(getattr(loaded, name, None))]
    return f"it has no method {' or '.join(missing)}" if missing else ""


_REGISTRY: Registry[Format] = Registry(ENTRY_POINT_GROUP, BUILT_IN, _flaw)


def list_formats() -> list[str]:
    """Names of all formats, in the order in which they are asked. Loads none of them.

    Other packages' come first: they are narrower than ours, which ask GDAL in the end.
    """
    return _REGISTRY.names()


def get_format(name: str) -> Format:
    """Load the format behind a name of `list_formats`.

    Raises:
        ExtensionError: It is another package's, and cannot be used.
    """
    return _REGISTRY.load(name)


def _format_of(path: str) -> Format:
    """The first format that claims a file; one that another package has broken is passed over with a warning."""
    for name, known in _REGISTRY.usable():
        try:
            if known.claims(path):
                return known
        except Exception as error:
            if name in BUILT_IN:
                with refusing(CubeError, f"{path}: not readable as {known.title}", _ADVICE):
                    raise
            warnings.warn(
                f"the format {name!r} ({known.title}) failed on {path} and was skipped ({type(error).__name__}: "
                f"{' '.join(str(error).split())})",
                ExtensionWarning,
                stacklevel=3,
            )
    raise CubeError(f"{path}: no format recognises it; is it a cube?")


def open_source(
    path: str | os.PathLike[str], bands: Sequence[int] | None = None, *, reading: Reading = AS_IT_SAYS
) -> Source:
    """Open a cube of any known format; of its samples, only some at the border are read, to find undeclared fill.

    Args:
        path: A file (for ENVI the data file or its header), a folder of a format made of several files, or a name for
            GDAL.
        bands: 0-based indices of the bands to keep, in order; all by default.
        reading: What the user knows about the file.

    Raises:
        CubeNotFoundError: The file, or its ENVI header or data file, does not exist.
        CubeError: The file cannot be used as a cube.
        BandError: `bands` contains an index that the cube does not have.
        MissingExtraError: The format needs an optional dependency.
    """
    name = os.fspath(path)
    _check_name(name)
    known = _format_of(name)
    with refusing(CubeError, f"{name}: not readable as {known.title}", _ADVICE):
        opened = known.open(name, reading)
        opened.reading = reading
        _check_place(name, opened)
        source = with_fill(without_masks(opened), reading.fill)
    return source if bands is None else BandSubset(source, bands)


def _check_place(name: str, source: Source) -> None:
    """Refuse a place that is nowhere; a map there could not be shown, nor compared with any other."""
    transform = source.metadata.transform
    if not all(map(math.isfinite, transform)):
        raise CubeError(
            f"{name}: its transform ({', '.join(f'{value:g}' for value in transform[:6])}) is not finite; "
            "correct its georeference, or remove it"
        )


def _check_name(name: str) -> None:
    if not name.strip():
        raise CubeNotFoundError("the path of the cube is empty; give a file")
    try:
        name.encode()
    except UnicodeEncodeError:
        raise CubeError(f"{name}: the name is not UTF-8, which GDAL cannot open; rename the file") from None
    if is_no_path(name):
        return
    try:
        str(Path(name).absolute()).encode()
    except UnicodeEncodeError:
        raise CubeError(
            f"{name}: the name of a folder that it lies in is not UTF-8, which GDAL cannot open; rename the folder"
        ) from None
    if not exists(name):
        raise CubeNotFoundError(f"{name}: no such file; check the path")
    if not Path(name).exists():
        raise CubeNotFoundError(f"{name}: a broken link; restore the file it points to")
