"""Coordinate reference systems of ENVI headers: ``coordinate system string``, or the words of ``map info``.

GDAL's reading is taken wherever GDAL understands the words. Where it does not — a UTM zone without its hemisphere, a
datum spelled otherwise, units with blanks and capitals — the system is made here, by names that EPSG's register knows.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import rasterio
from rasterio.crs import CRS
from rasterio.errors import CRSError

from hadgeo.formats.datums import datum_code, geographic_system
from hadgeo.formats.number_lists import shown

if TYPE_CHECKING:
    import pyproj

#: What GDAL's ENVI driver knows, in lower case; it takes WGS 84 for every other datum.
_GDAL_DATUMS = {
    *("wgs-84", "wgs-72", "north america 1983", "north america 1927", "ordnance survey of great britain '36"),
    *("sad-69/brazil", "geocentric datum of australia 1994", "australian geodetic 1984"),
    *("nouvelle triangulation francaise ign", "grs 80", "airy", "australian national", "bessel 1841", "clark 1866"),
}
_GDAL_UNITS = ("feet", "meters", "km", "yards", "miles", "nautical miles")

#: Metres of a unit of length.
_METRES = {
    **dict.fromkeys(("m", "meter", "meters", "metre", "metres"), 1.0),
    **dict.fromkeys(("km", "kilometer", "kilometers", "kilometre", "kilometres"), 1000.0),
    **dict.fromkeys(("feet", "foot", "ft", "international feet", "intl feet"), 0.3048),
    **dict.fromkeys(("us survey feet", "u.s. survey feet", "us feet", "survey feet", "ftus", "us-ft"), 1200 / 3937),
    **dict.fromkeys(("yard", "yards"), 0.9144),
    **dict.fromkeys(("mile", "miles"), 1609.344),
    **dict.fromkeys(("nautical mile", "nautical miles"), 1852.0),
}
_ANGLES = ("degrees", "degree", "deg", "minutes", "seconds", "radians", "dms")

_ZONE = re.compile(r"^(?:zone\s*)?(-?\d{1,2})\s*([NS])?$|^(?:zone\s*)?(\d{1,2})\s*(north|south)$", re.IGNORECASE)
_ZONE_IN_NAME = re.compile(r"(\d{1,2})\s*([NS])?(?:orth|outh)?\s*$", re.IGNORECASE)
_HEMISPHERE = re.compile(r"^(n|north|northern|s|south|southern)( hemisphere)?$", re.IGNORECASE)
_GEOGRAPHIC = re.compile(r"geograph|lat\W*lon", re.IGNORECASE)

#: Northings beyond what the other hemisphere of UTM has, between 80° S and 84° N, in metres.
_ONLY_SOUTH, _ONLY_NORTH = 9_400_000.0, 1_100_000.0

_Told = tuple[CRS | None, tuple[str, ...], tuple[str, ...]]


def coordinate_system(
    fields: Mapping[str, str],
    projection: str,
    words: Sequence[str],
    units: str,
    items: Sequence[str],
    seen: CRS | None,
) -> _Told:
    """The coordinate reference system of a header.

    Args:
        fields: Of the header.
        projection: Name of the projection in ``map info``.
        words: What stands there behind the pixel sizes without a key.
        units: What it says of units, in lower case.
        items: All items of ``map info``, quotes kept, as GDAL counts them.
        seen: What GDAL takes for it.

    Returns:
        The system, or None where the header does not tell it; warnings; what was assumed.
    """
    text = fields.get("coordinate system string", "").strip().strip("{}").strip()
    notes: tuple[str, ...] = ()
    if text:
        written = _from_esri(text)
        if written is not None:
            return _of_string(written, projection, words, units, seen)
        notes = ("the coordinate system string cannot be interpreted: map info is used instead",)
    crs, more, assumed = _of_words(fields, projection, words, units, items, seen)
    return crs, (*notes, *more), assumed


def is_geographic(projection: str) -> bool:
    """Whether the name of a projection is that of longitudes and latitudes."""
    return _GEOGRAPHIC.search(projection) is not None


def _from_esri(text: str) -> CRS | None:
    # Within an environment GDAL does not print what it thinks of a broken string.
    with rasterio.Env():
        try:
            return CRS.from_wkt(text, morph_from_esri_dialect=True)
        except CRSError:
            return None


def _of_string(written: CRS, projection: str, words: Sequence[str], units: str, seen: CRS | None) -> _Told:
    """The string's own system, as GDAL identified it unless it put another unit in its place."""
    notes: list[str] = []
    crs = _identified(written) if seen is None or _unit(seen) != _unit(written) else seen
    if units and units in _METRES and crs.is_projected and not _about(_METRES[units], _unit(crs), 1e-5):
        notes.append(
            f"map info says units={units}, but the coordinate system string says {crs.linear_units}: the string is used"
        )
    if not _agree(crs, projection, words):
        notes.append(
            f"map info says {_words(projection, words)}, but the coordinate system string says {crs_name(crs)}: the "
            "string is used, as in GDAL"
        )
    return crs, tuple(notes), ()


def _agree(crs: CRS, projection: str, words: Sequence[str]) -> bool:
    """Whether a system can be what the words of ``map info`` name, as far as they are easily told."""
    known = crs.to_dict(projjson=True)
    base = known.get("base_crs", known)
    said, written = datum_code(_datum_word(words) or ""), datum_code(str(base.get("name", "")))
    if said is not None and written is not None and said != written:
        return False
    if _GEOGRAPHIC.search(projection):
        return bool(crs.is_geographic)
    if not projection.lower().startswith("utm"):
        return True
    zone, north, _ = _utm(projection, words, None)
    meridian, false_northing = _parameter(known, 8802), _parameter(known, 8807)
    if zone is None or meridian is None or false_northing is None:
        return bool(crs.is_projected)
    given = any(_HEMISPHERE.match(word) for word in words)
    return meridian == zone * 6 - 183 and (not given or (false_northing < 1e6) == north)


def _parameter(known: Mapping[str, Any], code: int) -> float | None:
    """A parameter of a projection by its EPSG code."""
    for parameter in known.get("conversion", {}).get("parameters", ()):
        if parameter.get("id", {}).get("code") == code:
            value = parameter.get("value")
            return float(value) if isinstance(value, int | float) else None
    return None


def _of_words(
    fields: Mapping[str, str],
    projection: str,
    words: Sequence[str],
    units: str,
    items: Sequence[str],
    seen: CRS | None,
) -> _Told:
    if projection.lower().startswith("utm"):
        told = _of_utm(projection, words, items, seen, _northing(items))
    elif _GEOGRAPHIC.search(projection):
        told = _of_degrees(words, items, seen)
    else:
        told = _of_projection(fields, projection, seen)
    crs, notes, assumed = told
    if crs is not None and (crs.is_geographic or crs.is_projected):
        crs, more = _with_units(crs, units)
        notes = (*notes, *more)
    return crs, notes, assumed


def _of_utm(
    projection: str, words: Sequence[str], items: Sequence[str], seen: CRS | None, northing: float | None
) -> _Told:
    zone, north, guessed = _utm(projection, words, northing)
    if zone is None:
        return None, (f"map info says UTM, but no zone from 1 to 60 ({_words(projection, words)})",), ()
    assumed = (guessed,) if guessed else ()
    datum = _datum_word(words)
    if datum is None:
        assumed = (*assumed, "map info names no datum: North America 1927 assumed, as in ENVI and GDAL")
    if seen is not None and _gdal_knows_utm(items, datum):
        return seen, (), assumed
    base, notes, more = geographic_system(datum or "North America 1927")
    if base is None:
        return None, notes, assumed
    from pyproj.crs import ProjectedCRS
    from pyproj.crs.coordinate_operation import UTMConversion

    hemisphere = "N" if north else "S"
    name = f"{base.name} / UTM zone {zone}{hemisphere}"
    made = ProjectedCRS(UTMConversion(str(zone), hemisphere), geodetic_crs=base, name=name)
    return _registered(made), notes, (*assumed, *more)


def _utm(projection: str, words: Sequence[str], northing: float | None) -> tuple[int | None, bool, str]:
    """Zone, whether in the north, and what had to be assumed for it."""
    found = next((match for word in words if (match := _ZONE.match(word))), None)
    number, letter = (found[1] or found[3], found[2] or found[4]) if found else (None, None)
    if number is None and (in_name := _ZONE_IN_NAME.search(projection)):
        number, letter = in_name[1], in_name[2]
    said = next((word for word in words if _HEMISPHERE.match(word)), letter)
    zone = int(number) if number else 0
    if not 1 <= abs(zone) <= 60:
        return None, True, ""
    if said or zone < 0:
        north = zone > 0 and not (said or "").lower().startswith("s")
        contradicted = bool(letter) and (letter or "").lower().startswith("n") != north
        return abs(zone), north, f"map info says zone {zone}{letter} and {said}: {said} assumed" if contradicted else ""
    if northing is not None and northing > _ONLY_SOUTH:
        return (
            zone,
            False,
            f"map info names no hemisphere: South assumed, since a northing of {northing:.10g} occurs only there",
        )
    reason = (
        ""
        if northing is None or northing >= _ONLY_NORTH
        else f", since a northing of {northing:.10g} occurs only there"
    )
    return zone, True, f"map info names no hemisphere: North assumed{reason}"


def _northing(items: Sequence[str]) -> float | None:
    try:
        return float(items[4].strip("\"'"))
    except (IndexError, ValueError):
        return None


def _datum_word(words: Sequence[str]) -> str | None:
    """The datum among the words behind the pixel sizes: the first that is neither zone nor hemisphere."""
    rest = [word for word in words if word and not _ZONE.match(word) and not _HEMISPHERE.match(word)]
    return rest[0] if rest else None


def _gdal_knows(datum: str) -> bool:
    name = datum.lower()
    return name in _GDAL_DATUMS or name.startswith("european 1950") or "NAD27" in datum or "NAD-27" in datum


def _gdal_knows_utm(items: Sequence[str], datum: str | None) -> bool:
    """Whether GDAL finds zone, hemisphere and datum at the places where it looks for them."""
    if (
        len(items) < 9
        or not items[0].lower().startswith("utm")
        or not items[7].isdecimal()
        or items[8].lower() not in ("north", "south")
    ):
        return False
    at_its_place = items[9] if len(items) > 9 and "=" not in items[9] else None
    return at_its_place == datum and (datum is None or _gdal_knows(datum))


def _of_degrees(words: Sequence[str], items: Sequence[str], seen: CRS | None) -> _Told:
    datum = next((word for word in words if word and not _HEMISPHERE.match(word) and not word.isdecimal()), None)
    assumed = () if datum else ("map info names no datum: WGS 84 assumed, as in GDAL",)
    at_its_place = items[7] if len(items) > 7 and "=" not in items[7] else None
    understood = len(items) > 7 and items[0].lower().startswith("geographic lat") and at_its_place == datum
    if seen is not None and understood and (datum is None or _gdal_knows(datum)):
        return seen, (), assumed
    base, notes, more = geographic_system(datum or "WGS-84")
    return (None if base is None else _registered(base)), notes, (*assumed, *more)


def _of_projection(fields: Mapping[str, str], projection: str, seen: CRS | None) -> _Told:
    """GDAL's reading of any other projection, with the datum that ``projection info`` names."""
    if seen is None:
        return None, (), ()
    if not seen.is_projected and not seen.is_geographic:
        return seen, (f"map info says {shown(projection)}, which does not tell where on Earth the scene is",), ()
    datum = _projection_datum(fields)
    if datum is None or _gdal_knows(datum) or projection.lower().startswith("state plane"):
        return seen, (), ()
    base, notes, assumed = geographic_system(datum)
    if base is None:
        return None, notes, assumed
    import pyproj
    from pyproj.crs import ProjectedCRS

    flat = pyproj.CRS.from_wkt(seen.to_wkt())
    made = ProjectedCRS(flat.coordinate_operation, geodetic_crs=base, cartesian_cs=flat.coordinate_system)
    return _registered(made), notes, assumed


def _projection_datum(fields: Mapping[str, str]) -> str | None:
    """The datum that stands before the name at the end of ``projection info``."""
    items = [item.strip() for item in fields.get("projection info", "").strip().strip("{}").split(",")]
    plain = [item for item in items if item and "=" not in item]
    word = plain[-2] if len(plain) > 4 else ""
    return word if any(letter.isalpha() for letter in word) and not re.match(r"^[-+\d.eE]+$", word) else None


def _registered(made: pyproj.CRS) -> CRS:
    """A system as rasterio has it, under its EPSG code where it has one."""
    code = made.to_epsg(min_confidence=90)
    return CRS.from_epsg(code) if code else CRS.from_wkt(made.to_wkt())


def _identified(crs: CRS) -> CRS:
    code = crs.to_epsg(confidence_threshold=90)
    return CRS.from_epsg(code) if code else crs


def _with_units(crs: CRS, units: str) -> tuple[CRS, tuple[str, ...]]:
    """A system in the units that ``map info`` names, where GDAL has not seen them."""
    if not units or units == "unknown":
        return crs, ()
    metres = _METRES.get(units)
    if crs.is_geographic:
        wrong = metres is not None
        return crs, ((f"map info says units={units} for a system in degrees: ignored",) if wrong else ())
    if metres is None:
        return crs, (f"map info says units={shown(units)}, an unknown unit: {crs.linear_units} assumed",)
    if _about(metres, _unit(crs), 1e-9):
        return crs, ()
    import pyproj

    described = pyproj.CRS.from_wkt(crs.to_wkt()).to_json_dict()
    described.pop("id", None)
    for axis in described["coordinate_system"]["axis"]:
        axis["unit"] = {"type": "LinearUnit", "name": units, "conversion_factor": metres}
    return CRS.from_wkt(pyproj.CRS.from_json_dict(described).to_wkt()), ()


def _unit(crs: CRS) -> float:
    return float(crs.units_factor[1])


def _about(one: float, other: float, within: float) -> bool:
    return abs(one - other) <= within * abs(other)


def crs_name(crs: CRS) -> str:
    """A system's name for a message, in a few words."""
    text: str = crs.to_string()
    names = re.findall(r'(?:CS|CRS)\["+([^"]*)"', text) or [text[:60]]
    return f"a projection of {names[-1]}" if names[0] in ("unnamed", "undefined", "unknown") else names[0]


def _words(projection: str, words: Sequence[str]) -> str:
    return ", ".join(item for item in (projection, *words) if item)
