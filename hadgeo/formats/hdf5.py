"""HDF5 files (NetCDF 4 and MATLAB 7.3 are some) through h5py, an optional dependency."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

from hadgeo.errors import CubeError, MissingExtraError
from hadgeo.formats.arrays import DAMAGE, Boxes, StoredArray
from hadgeo.formats.container import Container, Dimension, Variable, text
from hadgeo.formats.leading import asked_for, leads_elsewhere

#: First bytes of an HDF5 file. They stand at 0, or behind a block of the user's at 512, 1024, 2048, ...
SIGNATURE = b"\x89HDF\r\n\x1a\n"


def is_hdf5(name: str) -> bool:
    """Whether a name is that of an HDF5 file."""
    try:
        with Path(name).open("rb") as file:
            start = file.read(2048 + len(SIGNATURE))
    except (OSError, ValueError):
        return False
    return any(start[at : at + len(SIGNATURE)] == SIGNATURE for at in (0, 512, 1024, 2048))


def import_h5py(path: str) -> ModuleType:
    """The module h5py.

    Args:
        path: The file that needs it, for the message.

    Raises:
        MissingExtraError: It is not installed.
    """
    try:
        import h5py
    except ImportError as error:
        raise MissingExtraError(
            f'{path}: HDF5 files (NetCDF 4, MATLAB 7.3) need h5py; install it with pip install "hadgeo[hdf5]"'
        ) from error
    return h5py  # type: ignore[no-any-return]


def open_hdf5(path: str, file: str) -> Any:
    """Open a file for reading.

    Args:
        path: The file as the user named it, for messages.
        file: The file.

    Returns:
        An open ``h5py.File``, to be closed by whoever asked.

    Raises:
        CubeError: It is no HDF5 file, or cut short.
        MissingExtraError: h5py is not installed.
    """
    try:
        opened = import_h5py(path).File(file, "r")
    except OSError as error:
        reason = " ".join(str(error).split())
        raise CubeError(f"{path}: not a readable HDF5 file ({reason}); copy it again") from error
    try:
        check_own(path, opened)
    except BaseException:
        opened.close()
        raise
    return opened


def check_own(path: str, opened: Any) -> None:
    """Refuse a file of which groups or samples lie in others, unless the user has asked for that.

    Args:
        path: The file as the user named it, for messages.
        opened: An open ``h5py.File``.

    Raises:
        CubeError: Some do.
    """
    if asked_for():
        return
    h5py = import_h5py(path)

    def linked(_name: str, link: Any) -> str | None:
        return str(link.filename) if isinstance(link, h5py.ExternalLink) else None

    def stored(_name: str, item: Any) -> str | None:
        if not isinstance(item, h5py.Dataset):
            return None
        others = [str(name) for name, *_ in item.external or ()]
        if item.is_virtual:
            others += [source.file_name for source in item.virtual_sources() if source.file_name != "."]
        return others[0] if others else None

    try:
        other = opened.visititems_links(linked) or opened.visititems(stored)
    except DAMAGE as error:
        raise CubeError(f"{path}: its contents cannot be listed ({error}); copy the file again") from error
    if other is not None:
        raise leads_elsewhere(path, f"it names {other[:200]} as a part of it", "all")


@dataclass(frozen=True)
class Hdf5Array(StoredArray):
    """A dataset of an HDF5 file."""

    keeps_chunks = True

    @classmethod
    def of(cls, dataset: Any) -> Hdf5Array:
        """Remember an open ``h5py.Dataset``."""
        file = str(Path(dataset.file.filename).absolute())
        return cls(file, dataset.name, dataset.shape, dataset.dtype, dataset.chunks)

    def open(self, cache: int) -> Boxes:
        """Open it; HDF5 keeps chunks once a process, whoever opens the file; see `StoredArray.open`."""
        # About a hundred places for each chunk that can be kept, and a prime: H5Pset_cache.
        file = import_h5py(self.file).File(self.file, "r", rdcc_nbytes=cache, rdcc_nslots=100_003)
        boxes: Boxes = file[self.name]
        return boxes

    def stored_bytes(self) -> int:
        """What HDF5 has allocated; see `StoredArray.stored_bytes`."""
        with import_h5py(self.file).File(self.file, "r") as file:
            return int(file[self.name].id.get_storage_size())


#: Name of a dataset that stands for a dimension of NetCDF 4 without coordinates (netCDF-C's own wording).
_NO_VARIABLE = "This is a netCDF dimension but not a netCDF variable"


def list_hdf5(path: str, file: str) -> Container:
    """All arrays of an HDF5 file.

    Args:
        path: The file as the user named it, for messages.
        file: The file.

    Raises:
        CubeError: It is no HDF5 file, or damaged.
        MissingExtraError: h5py is not installed.
    """
    h5py = import_h5py(path)
    variables: dict[str, Variable] = {}
    lost: list[str] = []
    with open_hdf5(path, file) as opened:
        groups = {"": _attributes(opened)}
        netcdf = "_NCProperties" in opened.attrs

        def visit(name: str, item: Any) -> None:
            nonlocal netcdf
            key = f"/{name}"
            if isinstance(item, h5py.Group):
                groups[key] = _attributes(item)
            elif isinstance(item, h5py.Dataset) and item.shape is not None:
                attrs = _attributes(item)
                netcdf = netcdf or "_Netcdf4Dimid" in attrs
                if not text(attrs.get("NAME", "")).startswith(_NO_VARIABLE):
                    array = Hdf5Array(str(Path(file).absolute()), key, item.shape, item.dtype, item.chunks)
                    variables[key] = Variable(array, _dimensions(item, attrs, lost), attrs)

        try:
            opened.visititems(visit)
        except DAMAGE as error:
            raise CubeError(f"{path}: its contents cannot be listed ({error}); copy the file again") from error
    notes = (f"scales of dimensions that are not in the file any more ({', '.join(lost[:3])}): left aside",)
    return Container(path, "NetCDF 4" if netcdf else "HDF5", variables, groups, notes if lost else ())


def _attributes(item: Any) -> dict[str, Any]:
    found = {}
    for key in item.attrs:
        try:
            found[key] = item.attrs[key]
        except (OSError, TypeError, ValueError, KeyError):
            # Of a type that h5py does not know: nothing that would describe a cube.
            continue
    return found


def _dimensions(dataset: Any, attrs: dict[str, Any], lost: list[str]) -> tuple[Dimension, ...]:
    """Dimensions by their scales, which NetCDF 4 attaches to every axis, by their labels, or by what products write.

    Scales that were deleted stay attached; axes of such are added to `lost`.
    """
    told = [part.strip() for part in text(attrs.get("Dimension_Labels", "")).split(",")]
    dims = []
    for axis, scales in enumerate(dataset.dims):
        if dataset.ndim == 1 and text(attrs.get("CLASS", "")) == "DIMENSION_SCALE":
            key = dataset.name
        else:
            try:
                key = scales[0].name if len(scales) else ""
            except (RuntimeError, OSError, KeyError):
                lost.append(f"axis {axis} of {dataset.name}")
                key = ""
        name = (key or "").rpartition("/")[2] or text(scales.label)
        dims.append(Dimension(name or (told[axis] if len(told) == dataset.ndim else ""), key or ""))
    return tuple(dims)
