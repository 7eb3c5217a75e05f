"""What a virtual raster or a virtual layer names: the files that GDAL would open for it."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from xml.etree import ElementTree

from hadgeo.errors import CubeError
from hadgeo.formats.leading import NETWORK, leads_elsewhere

#: A larger virtual raster is none that a person or a program has written.
_LARGEST_VRT = 2**28

#: Metadata by which GDAL finds other files.
_FINDING = re.compile(r"OVERVIEW_FILE|\w+_DATASET|RPC_DEM|MASK_FILE", re.IGNORECASE)

#: Elements that may hold addresses which lead nowhere, and code.
_PLACES = ("srs", "gcplist", "layersrs", "targetsrs", "sourcesrs", "pixelfunctioncode")


@dataclass(frozen=True)
class Named:
    """What a virtual file names.

    Attributes:
        name: A file, or another name that GDAL opens, relative to the working directory.
        raw: Whether its bytes are taken as they are, whatever its format.
        layer: Whether it is a vector file.
    """

    name: str
    raw: bool = False
    layer: bool = False


def named_in(name: str) -> Iterator[Named]:
    """All that a virtual file names.

    Args:
        name: The file.

    Raises:
        CubeError: It cannot be read.
    """
    path = Path(name)
    try:
        if path.stat().st_size > _LARGEST_VRT:
            raise leads_elsewhere(name, "too large for a virtual raster", "VRT")
        root = ElementTree.fromstring(path.read_bytes())  # noqa: S314 - expat itself bounds what entities may grow to
    except (OSError, ElementTree.ParseError) as error:
        raise CubeError(f"{name}: not a virtual raster that can be read ({error})") from None
    layer = _tag(root).startswith("ogr")
    raw = {id(element) for band in root.iter() if band.get("subClass") == "VRTRawRasterBand" for element in band}
    for element in root.iter():
        for text in _texts(element):
            yield Named(_placed(element, text, path.parent), id(element) in raw, layer)


def _tag(element: ElementTree.Element) -> str:
    return element.tag.rpartition("}")[2].lower()


def _texts(element: ElementTree.Element) -> list[str]:
    """Texts of an element that are names of files; of others, those that can be nothing else."""
    tag = _tag(element)
    if tag == "mdi" or tag.endswith("metadata"):
        found = [element.text] if _FINDING.fullmatch(element.get("key", "")) else []
    elif tag in _PLACES:
        found = []
    elif tag != "vrtdataset" and tag.endswith(("filename", "dataset", "datasource")):
        found = [element.text]
    else:
        found = [text for text in (element.text, *element.attrib.values()) if text and NETWORK.match(text.strip())]
    return [text.strip() for text in found if text and text.strip()]


def _placed(element: ElementTree.Element, text: str, folder: Path) -> str:
    told = element.get("relativeToVRT") or element.get("relativetoVRT") or "0"
    relative = told.lower() not in ("0", "no", "off", "false")
    return str(folder / text) if relative and not NETWORK.search(text) else text
