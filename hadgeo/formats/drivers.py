"""Which formats GDAL reads of a file that is given by name, and what of it would lead elsewhere.

Some of GDAL's formats hold no samples but say where some are: in other files, or on the network. A file is known by
what it contains, whatever it is called, so a scene from somebody else could make a run read anything. Therefore a
raster is opened by those drivers alone whose files hold their own samples, and a vector file if its first bytes are of
such a format. A virtual raster is followed where its name says that it is one (``.vrt``), to files of this computer.
"""

from __future__ import annotations

import os
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path
from zipfile import BadZipFile, ZipFile

import rasterio
from rasterio.env import ensure_env_with_credentials
from rasterio.errors import RasterioError, RasterioIOError
from rasterio.io import DatasetReader

from hadgeo.errors import CubeError
from hadgeo.formats.leading import (
    NETWORK,
    START,
    VECTORS,
    VIRTUAL,
    WOULD,
    asked_for,
    driver_marked,
    is_virtual,
    keeps_off_network,
    leading_driver,
    leads_elsewhere,
)
from hadgeo.formats.virtual import Named, named_in

# fmt: off
#: Drivers whose files hold their own samples.
_OWN = [
    "AAIGrid", "ACE2", "AIG", "BAG", "BIGGIF", "BLX", "BMP", "BSB", "BT", "BYN", "CEOS", "COG", "CTG", "CTable2",
    "DOQ1", "DOQ2", "DTED", "EHdr", "EIR", "ELAS", "ENVI", "ESAT", "FAST", "FIT", "FITS", "GFF", "GIF", "GPKG",
    "GRASSASCIIGrid", "GRIB", "GS7BG", "GSAG", "GSBG", "GSC", "GTX", "GTiff", "GXF", "GenBin", "HDF4", "HDF4Image",
    "HDF5", "HDF5Image", "HF2", "HFA", "IRIS", "ISCE", "ISG", "ISIS2", "ISIS3", "JDEM", "JP2ECW", "JP2KAK", "JP2Lura",
    "JP2MrSID", "JP2OpenJPEG", "JPEG", "JPEGXL", "KEA", "KRO", "L1B", "LAN", "LCP", "LIBERTIFF", "LOSLAS", "Leveller",
    "MBTiles", "MSGN", "NGSGEOID", "NITF", "NSIDCbin", "NTv2", "NWT_GRC", "NWT_GRD", "PAux", "PCIDSK", "PCRaster",
    "PDS", "PDS4", "PNG", "PNM", "R", "RIK", "RMF", "ROI_PAC", "RRASTER", "RST", "SAGA", "SGI", "SIGDEM", "SNODAS",
    "SRP", "SRTMHGT", "TGA", "Terragen", "USGSDEM", "VICAR", "WEBP", "XPM", "XYZ", "ZMap", "Zarr", "netCDF",
]
# fmt: on

#: Keeps GDAL from all that it reads over the network as if it were a file; no file is called that.
_OFFLINE = {"CPL_VSIL_CURL_ALLOWED_FILENAME": "none"}

#: Whether this process has been asked to read anything over the network.
_networked = False

#: Files beside a raster that describe it, wherever some products keep them.
_DESCRIBING = (".xml", ".txt", ".imd", ".rpb", ".rpc", ".pvl", ".met")

#: Vector formats by their first bytes, besides text.
_VECTOR_MARKS = (b"SQLite format 3\0", b"fgb\x03", b"\0\0\x27\x0a", b"PAR1", b"ARROW1")

#: The first element of XML that holds its own polygons.
_VECTOR_ROOTS = re.compile(rb"<(\w+:)?(kml|FeatureCollection|gpx|GeoRSS|rss|feed)\b", re.IGNORECASE)


#: What makes a text a table of other tables: a seamless one or a view of MapInfo's, and the label of one of PDS.
_TABLES = re.compile(
    rb'^[ \t"]*(\\IsSeamless[" \t]*=[" \t]*TRUE|create[ \t]+view\b|(?P<pds>PDS_VERSION_ID|ODL_VERSION_ID|CCSD3ZF))',
    re.IGNORECASE | re.MULTILINE,
)

#: Bytes of a description of MapInfo's, which GDAL reads as a whole, that are looked at; most have a few hundred.
_TAB_BYTES = 2**24


def open_allowed(name: str) -> DatasetReader:
    """Open a raster by the drivers that are allowed for its name.

    Args:
        name: A path, or anything else that GDAL opens.

    Raises:
        rasterio.errors.RasterioIOError: GDAL cannot open it.
        CubeError: It leads elsewhere, and the user has not asked for that.
    """
    further = asked_for()
    if further:
        everything = "all" in map(str.lower, further)
        return _open(name, None if everything else [*_OWN, *(["VRT"] if is_virtual(name) else []), *further])
    _check_beside(name)
    if is_virtual(name):
        _check_virtual(name, {})
    try:
        with _offline(name):
            return _open_own(name)
    except RasterioError:
        driver = leading_driver(Path(name))
        if driver is None:
            raise
        raise leads_elsewhere(name, f"GDAL's driver {driver} {WOULD}", driver) from None


def _open_own(name: str) -> DatasetReader:
    dataset = _open(name, [*_OWN, "VRT"] if is_virtual(name) else _OWN)
    try:
        _check_own(dataset, name)
    except BaseException:
        dataset.close()
        raise
    return dataset


@contextmanager
def _offline(name: str) -> Iterator[None]:
    """Keep GDAL off the network while a file is opened that is not there, and whose parts must not be.

    What GDAL is told in the main thread holds in all others too, of which one may be reading over the network; then
    what a file names is all that is looked at.
    """
    global _networked
    if not keeps_off_network(name):
        _networked = True
    alone = threading.current_thread() is not threading.main_thread() or not _networked
    with rasterio.Env(**(_OFFLINE if alone and keeps_off_network(name) else {})):
        yield


@ensure_env_with_credentials  # type: ignore[untyped-decorator]
def _open(name: str, drivers: list[str] | None) -> DatasetReader:
    try:
        return DatasetReader(name, driver=drivers, sharing=False)
    except UnicodeDecodeError:
        # Raised by rasterio over GDAL's own message, which repeats what it found.
        raise RasterioIOError(f"{name!r}: bytes that are not UTF-8") from None


def check_vector(path: str | os.PathLike[str]) -> None:
    """Refuse a vector file that holds no polygons of its own but may lead elsewhere; a name that is none is let pass.

    Raises:
        CubeError: It may, and the user has not asked for that.
    """
    _stay_off_schemas()
    file = Path(path)
    if asked_for() or not file.is_file():
        return
    if file.suffix.lower() == ".vrt":
        _check_virtual(str(file), {})
        return
    if file.suffix.lower() == ".tab" and file.stat().st_size > _TAB_BYTES:
        raise leads_elsewhere(str(path), "a description of a table that is too long for one", "all")
    starts = list(_starts(file))
    for start in starts:
        driver = driver_marked(start, VECTORS) or _table_of_tables(start)
        if driver is not None:
            raise leads_elsewhere(str(path), f"GDAL's driver {driver} {WOULD}", driver)
    if not all(_holds_polygons(start) for start in starts):
        raise leads_elsewhere(str(path), "not a vector format that is known to hold its own polygons", "all")


def _stay_off_schemas() -> None:
    """Keep GDAL from fetching the schema that a GML file names."""
    option = "GML_DOWNLOAD_WFS_SCHEMA"
    if option in os.environ or asked_for():
        return
    try:
        from pyogrio import set_gdal_config_options
    except ImportError:
        # Whoever reads it says so.
        return
    set_gdal_config_options({option: "NO"})


def _starts(file: Path) -> Iterator[bytes]:
    """The first bytes of a file, or of all files in an archive."""
    try:
        with file.open("rb") as opened:
            start = opened.read(_bytes_of(file.name))
        if not start.startswith(b"PK\x03\x04"):
            yield start
            return
        with ZipFile(file) as archive:
            for member in archive.infolist():
                if not member.is_dir():
                    with archive.open(member) as opened:
                        start = opened.read(_bytes_of(member.filename))
                    # Of a shapefile, one file in several holds the polygons.
                    if _holds_polygons(start) or driver_marked(start, VECTORS):
                        yield start
    except (OSError, BadZipFile, NotImplementedError, RuntimeError):
        # Whoever reads it says why.
        return


def _bytes_of(name: str) -> int:
    """How much of a file is looked at."""
    return _TAB_BYTES if name.lower().endswith(".tab") else START


def _table_of_tables(start: bytes) -> str | None:
    """The driver of a table of MapInfo's that has others for its rows, or of a PDS label, whose table is elsewhere."""
    if start.lstrip(b" \t\r\n\xef\xbb\xbf")[:1] in (b"<", b"{", b"["):
        return None
    found = _TABLES.search(start.partition(b"\0")[0])
    return None if found is None else "OGR_PDS" if found["pds"] else "MapInfo File"


def _holds_polygons(start: bytes) -> bool:
    if start.startswith(_VECTOR_MARKS):
        return True
    text = start.removeprefix(b"\xef\xbb\xbf").lstrip(b" \t\r\n\x1e")
    # What is damaged or empty leads nowhere.
    return not text.startswith(b"<") or _VECTOR_ROOTS.search(text) is not None


def _check_beside(name: str) -> None:
    """Refuse files beside a raster that GDAL would take for its masks or overviews, by whatever driver."""
    for suffix in (".msk", ".ovr", ".msk.ovr", ".ovr.msk"):
        beside = Path(name + suffix)
        driver = leading_driver(beside)
        if driver is not None:
            raise leads_elsewhere(str(beside), f"GDAL's driver {driver} {WOULD}", driver)


def _check_own(dataset: DatasetReader, name: str) -> None:
    """Refuse a raster whose file names others, outside of its folder."""
    named = dataset.tags(ns="OVERVIEWS").get("OVERVIEW_FILE", "").removeprefix(":::BASE:::")
    # Only then, since GDAL opens overviews to list them.
    for files in ([named] if named else [], dataset.files if dataset.driver != "VRT" else []):
        for file in files:
            if not file.lower().endswith(_DESCRIBING) and _leads_out(file, name):
                raise leads_elsewhere(name, f"it names {file[:200]} as a part of it", "all")


def _leads_out(file: str, name: str) -> bool:
    """Whether a part of a raster lies on the network, which the raster does not, or outside of its folder."""
    if NETWORK.search(file):
        return keeps_off_network(name)
    folder = os.path.normpath(Path(name).absolute().parent)
    # GDAL takes some names relative to the raster, and some to the working directory.
    places = [os.path.normpath(os.path.join(base, file)) for base in (folder, Path.cwd())]  # noqa: PTH118
    inside = [Path(place).is_relative_to(folder) for place in places if _on_disk(place)]
    return _on_disk(name) and bool(inside) and not any(inside)


def _on_disk(name: str) -> bool:
    try:
        return os.path.lexists(name)
    except ValueError:
        return False


def _check_virtual(name: str, seen: dict[str, bool]) -> None:
    """Refuse a virtual file that leads to anything but files of this computer which hold their own samples.

    Raises:
        CubeError: It does, or nobody can say.
    """
    if name.lower().startswith("vrt://"):
        _check_source(name, Named(name[len("vrt://") :].partition("?")[0]), seen)
        return
    if not _on_disk(name):
        if NETWORK.search(name) or name.startswith("/vsi"):
            raise leads_elsewhere(
                name, "a virtual raster in an archive or on the network, into which nobody looks before", "VRT"
            )
        return
    driver = leading_driver(Path(name))
    if driver is None:
        # Of another format, in spite of its name.
        return
    if driver not in VIRTUAL:
        raise leads_elsewhere(name, f"GDAL's driver {driver} {WOULD}", driver)
    key = os.path.realpath(name)
    if seen.get(key):
        raise CubeError(f"{name}: a virtual raster that leads to itself; make it anew")
    if key in seen:
        return
    seen[key] = True
    for source in named_in(name):
        _check_source(name, source, seen)
    seen[key] = False


def _check_source(name: str, source: Named, seen: dict[str, bool]) -> None:
    """Refuse a virtual file if something that it names does not hold its own samples."""
    if NETWORK.search(source.name):
        raise leads_elsewhere(name, f"it leads to {source.name[:200]}", "VRT")
    if is_virtual(source.name):
        _check_virtual(source.name, seen)
        return
    driver = leading_driver(Path(source.name))
    if driver is not None:
        raise leads_elsewhere(name, f"it leads to {source.name}, which leads elsewhere (GDAL's driver {driver})", "VRT")
    if source.layer:
        check_vector(source.name)
    elif not source.raw and _on_disk(source.name) and not _opens(source.name, _state_of(source.name)):
        raise leads_elsewhere(
            name, f"it leads to {source.name}, which is of no format that is known to hold its own samples", "VRT"
        )


def _state_of(name: str) -> tuple[int, int]:
    status = Path(name).stat()
    return status.st_size, status.st_mtime_ns


@lru_cache(maxsize=4096)
def _opens(name: str, state: tuple[int, int]) -> bool:  # noqa: ARG001 - as long as the file is as it is
    """Whether a file holds its own samples; each thread that reads a mosaic asks that of all its files.

    Raises:
        CubeError: It names others, outside of its folder.
    """
    _check_beside(name)
    try:
        with _offline(name), _open_own(name):
            return True
    except RasterioError:
        return False
