"""What tells of a file that it holds no samples of its own but leads to other files, or to the network."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from pathlib import Path

from hadgeo.errors import CubeError

#: The environment variable that names further drivers, separated by commas, or says ``all``.
VARIABLE = "HADGEO_GDAL_DRIVERS"

#: What GDAL looks for anywhere in the beginning of a text that leads elsewhere, and its driver.
VECTORS = {
    b"<VRTDataset": "VRT",
    b"<OGRVRTDataSource": "OGR_VRT",
    b"<OGRWFSDataSource": "WFS",
    b"<OGRCSWDataSource": "CSW",
    b"gdal_streamed_alg": "GDALG",
}

#: The same for rasters alone.
_RASTERS = {
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
START = 2**16

#: Names that lead to the network, or to another system, or are themselves what a file would hold.
NETWORK = re.compile(
    r"/vsi(curl|s3|gs|az|adls|oss|swift|hdfs|webhdfs|stdin|mem)|\A\s*<|\A[a-z0-9+.-]*(https?|ftps?|s3|gs|az|abfss?|oss)://|"
    r"\A(WMS|WMTS|WCS|WFS|OAPIF|OGCAPI|STACIT|STACTA|EEDAI?|PLMOSAIC|DAAS|MEM|ECWP|PG|MYSQL|MSSQL|ODBC|OCI|ADBC|ES|MONGODBV3|CARTO|CSW|NGW):",
    re.IGNORECASE,
)

#: Drivers of what a name that ends in .vrt says.
VIRTUAL = ("VRT", "OGR_VRT")

#: What is said of a file that one of them claims.
WOULD = "would open it, whose files lead to others or to the network"


def asked_for() -> tuple[str, ...]:
    """The drivers that the user has named in `VARIABLE`."""
    return tuple(name for name in re.split(r"[,\s]+", os.environ.get(VARIABLE, "")) if name)


def keeps_off_network(name: str) -> bool:
    """Whether nothing in a file may lead GDAL to the network: neither its name nor the user has asked for that."""
    return not asked_for() and NETWORK.search(name) is None


def leading_driver(file: Path) -> str | None:
    """The driver of GDAL's that would be led elsewhere by a file; None where none is known to."""
    try:
        with file.open("rb") as opened:
            start = opened.read(START)
    except (OSError, ValueError):
        return None
    return driver_marked(start, {**VECTORS, **_RASTERS})


def driver_marked(start: bytes, marks: Mapping[bytes, str]) -> str | None:
    """The driver whose mark stands in a text, which ends at a zero for GDAL; samples hold all kinds of bytes.

    Args:
        start: The beginning of a file, `START` bytes of it.
        marks: Marks, and the drivers that claim what bears them.
    """
    lower = start.partition(b"\0")[0].lower()
    return next((driver for mark, driver in marks.items() if mark.lower() in lower), None)


def leads_elsewhere(name: str, why: str, driver: str) -> CubeError:
    """The error of a file that is not followed to where it leads.

    Args:
        name: The file.
        why: How it leads there.
        driver: What of `VARIABLE` would have it followed.
    """
    hint = "a name that ends in .vrt or " if driver in VIRTUAL and not is_virtual(name) else ""
    return CubeError(
        f"{name}: {why}; if you trust it, have it followed by {hint}the environment variable {VARIABLE}={driver}"
    )


def is_virtual(name: str) -> bool:
    """Whether a name says itself that it leads elsewhere."""
    return name.lower().endswith(".vrt") or name.lower().startswith("vrt://")
