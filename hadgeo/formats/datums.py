"""Datums by the names that headers give them, through EPSG's register; an unknown one is never taken for WGS 84."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from hadgeo.formats.number_lists import shown

if TYPE_CHECKING:
    import pyproj

#: Geographic systems of datums by names that EPSG does not have, letters and digits alone. EPSG codes.
_DATUMS = {
    **dict.fromkeys(("wgs84", "wgs1984", "dwgs1984", "gcswgs1984", "worldgeodeticsystem1984"), 4326),
    **dict.fromkeys(("wgs72", "wgs1972", "dwgs1972"), 4322),
    **dict.fromkeys(("nad83", "northamerica1983", "northamerican1983", "northamericandatum1983", "grs80"), 4269),
    **dict.fromkeys(("nad27", "northamerica1927", "northamerican1927", "northamericandatum1927"), 4267),
    **dict.fromkeys(("osgb36", "osgb1936", "ordnancesurveyofgreatbritain1936", "ordnancesurveygreatbritain1936"), 4277),
    **dict.fromkeys(("ed50", "european1950", "europeandatum1950"), 4230),
    **dict.fromkeys(("ed79", "european1979", "europeandatum1979"), 4668),
    **dict.fromkeys(("ed87", "european1987", "europeandatum1987"), 4231),
    **dict.fromkeys(("etrs89", "etrs1989", "detrs1989", "europeanterrestrialreferencesystem1989"), 4258),
    **dict.fromkeys(("gda94", "geocentricdatumofaustralia1994"), 4283),
    **dict.fromkeys(("gda2020", "geocentricdatumofaustralia2020"), 7844),
    **dict.fromkeys(("agd66", "australiangeodetic1966"), 4202),
    **dict.fromkeys(("agd84", "australiangeodetic1984"), 4203),
    **dict.fromkeys(("s42", "pulkovo1942", "sk42"), 4284),
    **dict.fromkeys(("sad69", "southamerican1969", "southamericandatum1969"), 4618),
    **dict.fromkeys(("psad56", "provisionalsouthamerican1956", "provsamerican1956"), 4248),
    **dict.fromkeys(("sirgas", "sirgas2000"), 4674),
    **dict.fromkeys(("geodeticdatum1949", "nzgd49", "newzealand1949"), 4272),
    **dict.fromkeys(("nzgd2000",), 4167),
    **dict.fromkeys(("ireland1965",), 4299),
    **dict.fromkeys(("rome1940", "montemario", "rome40"), 4265),
    **dict.fromkeys(("ntf", "nouvelletriangulationfrancaise", "nouvelletriangulationfrancaiseign"), 4275),
    **dict.fromkeys(("dhdn", "potsdam", "rauenberg"), 4314),
    **dict.fromkeys(("jgd2000", "japanesegeodeticdatum2000"), 4612),
    **dict.fromkeys(("sweref99",), 4619),
}


def datum_code(datum: str) -> int | None:
    """EPSG code of the geographic system of a datum with an everyday name, or None."""
    name = _normal(datum)
    return _DATUMS.get(name) or _DATUMS.get(name.removeprefix("d")) or _DATUMS.get(_with_century(name))


def geographic_system(datum: str) -> tuple[pyproj.CRS | None, tuple[str, ...], tuple[str, ...]]:
    """The geographic system of a datum.

    Args:
        datum: Its name in a header.

    Returns:
        The system, or None where nobody knows the name; warnings; what was assumed.
    """
    import pyproj

    name = _normal(datum)
    code = datum_code(datum)
    found = pyproj.CRS.from_epsg(code) if code else _registered_datum(datum)
    if found is None:
        return (
            None,
            (f"unknown datum {shown(datum)}: no coordinate reference system assigned, where GDAL assumes WGS 84",),
            (),
        )
    plain = _normal(found.name) in (name, _with_century(name)) or name.startswith(("wgs84", "wgs1984"))
    return found, (), () if plain else (f"the datum {shown(datum)} interpreted as {found.name}",)


def _normal(name: str) -> str:
    return re.sub(r"[^a-z0-9]", "", name.lower())


def _with_century(name: str) -> str:
    """A name with its year in full: ``… of Great Britain 36`` is of 1936."""
    return re.sub(r"(?<!\d)(\d\d)$", r"19\1", name)


def _registered_datum(name: str) -> pyproj.CRS | None:
    """The geographic system of a datum that EPSG's register knows by that name, or an alias of it."""
    from pyproj.crs import Datum, GeographicCRS  # type: ignore[attr-defined]
    from pyproj.exceptions import CRSError as ProjError

    blank = re.sub(r"[-_']+", " ", name).strip()
    for spelled in dict.fromkeys((name, blank, re.sub(r"(?<!\d)(\d\d)$", r"19\1", blank))):
        try:
            datum = Datum.from_name(spelled)
        except ProjError:
            continue
        return GeographicCRS(name=datum.name, datum=datum)
    return None
