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
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from xml.etree import ElementTree
from zipfile import BadZipFile, ZipFile

import rasterio
from rasterio.env import ensure_env_with_credentials
from rasterio.errors import RasterioError
from rasterio.io import DatasetReader

from hadgeo.errors import CubeError

#: The environment variable that names further drivers, separated by commas, or says ``all``.
VARIABLE = "HADGEO_GDAL_DRIVERS"

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

#: What GDAL looks for anywhere in the beginning of a text that leads elsewhere, and its driver.
_LEADING = {
    b"<VRTDataset": "VRT",
    b"<OGRVRTDataSource": "OGR_VRT",
    b"<OGRWFSDataSource": "WFS",
    b"<OGRCSWDataSource": "CSW",
    b"gdal_streamed_alg": "GDALG",
}

#: The same for rasters alone.
_LEADING_RASTER = {
    b"<GDAL_WMS": "WMS",
    b"<WMS_": "WMS",
    b"<TileMapService": "WMS",
    b"<TileMap ": "WMS",
    b"<Services": "WMS",
    b"<WMT_MS_Capabilities": "WMS",
    b"<GDAL_WMTS": "WMTS",
    b"<Capabilities": "WMTS",
    b"<WCS_GDAL": "WCS",
    b"<MRF_META": "MRF",
    b"<GDALTileIndexDataset": "GTI",
    b"stac_version": "STACIT",
    b"tiled-assets": "STACTA",
    b"<Dimap_Document": "DIMAP",
    b"DatasetHeader Begin": "ERS",
}

#: How far into a file GDAL looks for them, generously.
_START = 2**16

#: Names that lead to the network, or to another system, or are themselves what a file would hold.
_NETWORK = re.compile(
    r"/vsi(curl|s3|gs|az|adls|oss|swift|hdfs|webhdfs|stdin|mem)|\A\s*<|\A[a-z0-9+.-]*(https?|ftps?|s3|gs|az|abfss?|oss)://|"
    r"\A(WMS|WMTS|WCS|WFS|OAPIF|OGCAPI|STACIT|STACTA|EEDAI?|PLMOSAIC|DAAS|MEM|ECWP):",
    re.IGNORECASE,
)

#: Keeps GDAL from all that it reads over the network as if it were a file; no file is called that.
_OFFLINE = {"CPL_VSIL_CURL_ALLOWED_FILENAME": "none"}

#: Whether this process has been asked to read anything over the network.
_networked = False

#: Drivers of what a name that ends in .vrt says.
_VIRTUAL = ("VRT", "OGR_VRT")

_WOULD = "would open it, whose files lead to others or to the network"

#: A larger virtual raster is none that a person or a program has written.
_LARGEST_VRT = 2**28

#: Files beside a raster that describe it, wherever some products keep them.
_DESCRIBING = (".xml", ".txt", ".imd", ".rpb", ".rpc", ".pvl", ".met")

#: Metadata by which GDAL finds other files.
_FINDING = re.compile(r"OVERVIEW_FILE|\w+_DATASET|RPC_DEM|MASK_FILE", re.IGNORECASE)

#: Vector formats by their first bytes, besides text.
_VECTOR_MARKS = (b"SQLite format 3\0", b"fgb\x03", b"\0\0\x27\x0a", b"PAR1", b"ARROW1")

#: The first element of XML that holds its own polygons.
_VECTOR_ROOTS = re.compile(rb"<(\w+:)?(kml|FeatureCollection|gpx|GeoRSS|rss|feed)\b", re.IGNORECASE)


def asked_for() -> tuple[str, ...]:
    """The drivers that the user has named in `VARIABLE`."""
    return tuple(name for name in re.split(r"[,\s]+", os.environ.get(VARIABLE, "")) if name)


def keeps_off_network(name: str) -> bool:
    """Whether nothing in a file may lead GDAL to the network: neither its name nor the user has asked for that."""
    return not asked_for() and _NETWORK.search(name) is None


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
        return _open(name, None if everything else [*_OWN, *(["VRT"] if _is_virtual(name) else []), *further])
    _check_beside(name)
    if _is_virtual(name):
        _check_virtual(name, {})
    try:
        with _offline(name):
            return _open_own(name)
    except RasterioError:
        driver = leading_driver(Path(name))
        if driver is None:
            raise
        raise leads_elsewhere(name, f"GDAL's driver {driver} {_WOULD}", driver) from None


def _open_own(name: str) -> DatasetReader:
    dataset = _open(name, [*_OWN, "VRT"] if _is_virtual(name) else _OWN)
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
    return DatasetReader(name, driver=drivers, sharing=False)


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
    starts = list(_starts(file))
    for start in starts:
        driver = _leading(start, _LEADING)
        if driver is not None:
            raise leads_elsewhere(str(path), f"GDAL's driver {driver} {_WOULD}", driver)
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
            start = opened.read(_START)
        if not start.startswith(b"PK\x03\x04"):
            yield start
            return
        with ZipFile(file) as archive:
            for member in archive.infolist():
                if not member.is_dir():
                    with archive.open(member) as opened:
                        start = opened.read(_START)
                    # Of a shapefile, one file in several holds the polygons.
                    if _holds_polygons(start) or _leading(start, _LEADING):
                        yield start
    except (OSError, BadZipFile, NotImplementedError, RuntimeError):
        # Whoever reads it says why.
        return


def _holds_polygons(start: bytes) -> bool:
    if start.startswith(_VECTOR_MARKS):
        return True
    text = start.removeprefix(b"\xef\xbb\xbf").lstrip(b" \t\r\n\x1e")
    # What is damaged or empty leads nowhere.
    return not text.startswith(b"<") or _VECTOR_ROOTS.search(text) is not None


def leading_driver(file: Path) -> str | None:
    """The driver of GDAL's that would be led elsewhere by a file; None where none is known to."""
    try:
        with file.open("rb") as opened:
            start = opened.read(_START)
    except (OSError, ValueError):
        return None
    return _leading(start, {**_LEADING, **_LEADING_RASTER})


def _leading(start: bytes, marks: Mapping[bytes, str]) -> str | None:
    """The driver whose mark stands in a text, which ends at a zero for GDAL; samples hold all kinds of bytes."""
    lower = start.partition(b"\0")[0].lower()
    return next((driver for mark, driver in marks.items() if mark.lower() in lower), None)


def leads_elsewhere(name: str, why: str, driver: str) -> CubeError:
    """The error of a file that is not followed to where it leads.

    Args:
        name: The file.
        why: How it leads there.
        driver: What of `VARIABLE` would have it followed.
    """
    hint = "a name that ends in .vrt or " if driver in _VIRTUAL and not _is_virtual(name) else ""
    return CubeError(
        f"{name}: {why}; if you trust it, have it followed by {hint}the environment variable {VARIABLE}={driver}"
    )


def _is_virtual(name: str) -> bool:
    return name.lower().endswith(".vrt") or name.lower().startswith("vrt://")


def _check_beside(name: str) -> None:
    """Refuse files beside a raster that GDAL would take for its masks or overviews, by whatever driver."""
    for suffix in (".msk", ".ovr", ".msk.ovr", ".ovr.msk"):
        beside = Path(name + suffix)
        driver = leading_driver(beside)
        if driver is not None:
            raise leads_elsewhere(str(beside), f"GDAL's driver {driver} {_WOULD}", driver)


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
    if _NETWORK.search(file):
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
        _check_source(name, name[len("vrt://") :].partition("?")[0], seen)
        return
    if not _on_disk(name):
        if _NETWORK.search(name) or name.startswith("/vsi"):
            raise leads_elsewhere(
                name, "a virtual raster in an archive or on the network, into which nobody looks before", "VRT"
            )
        return
    driver = leading_driver(Path(name))
    if driver is None:
        # Of another format, in spite of its name.
        return
    if driver not in _VIRTUAL:
        raise leads_elsewhere(name, f"GDAL's driver {driver} {_WOULD}", driver)
    key = os.path.realpath(name)
    if seen.get(key):
        raise CubeError(f"{name}: a virtual raster that leads to itself; make it anew")
    if key in seen:
        return
    seen[key] = True
    for source in _sources(name):
        _check_source(name, source, seen)
    seen[key] = False


def _sources(name: str) -> Iterator[str]:
    """All that a virtual file names, relative to the working directory."""
    path = Path(name)
    try:
        if path.stat().st_size > _LARGEST_VRT:
            raise leads_elsewhere(name, "too large for a virtual raster", "VRT")
        root = ElementTree.fromstring(path.read_bytes())  # noqa: S314 - expat itself bounds what entities may grow to
    except (OSError, ElementTree.ParseError) as error:
        raise CubeError(f"{name}: not a virtual raster that can be read ({error})") from None
    for element in root.iter():
        tag = element.tag.rpartition("}")[2].lower()
        texts = [element.text or "", *element.attrib.values()]
        if tag == "mdi" or tag.endswith("metadata"):
            texts = [element.text or ""] if _FINDING.fullmatch(element.get("key", "")) else []
        elif tag in ("srs", "gcplist", "layersrs", "targetsrs", "sourcesrs", "pixelfunctioncode"):
            texts = []
        named = tag.endswith(("filename", "dataset", "datasource", "dataset_filename")) and tag != "vrtdataset"
        named = named or tag == "mdi"
        for text in filter(None, map(str.strip, texts[:1] if named else texts)):
            if named:
                relative = "1" in (element.get("relativeToVRT"), element.get("relativetoVRT"))
                relative = relative or element.get("relativeToVRT", "").lower() in ("true", "yes", "on")
                yield str(path.parent / text) if relative and not _NETWORK.search(text) else text
            elif _NETWORK.match(text):
                yield text


def _check_source(name: str, source: str, seen: dict[str, bool]) -> None:
    if _NETWORK.search(source):
        raise leads_elsewhere(name, f"it leads to {source[:200]}", "VRT")
    if _is_virtual(source):
        _check_virtual(source, seen)
        return
    driver = leading_driver(Path(source))
    if driver is not None:
        raise leads_elsewhere(name, f"it leads to {source}, which leads elsewhere (GDAL's driver {driver})", "VRT")
    _check_beside(source)
