"""STAC items beside a file: what they say of its bands.

https://github.com/stac-extensions/eo: ``center_wavelength`` and ``full_width_half_max`` in micrometres, of each of
``eo:bands`` or, from version 1.1 of STAC on, of ``bands`` with the prefix ``eo:``.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from hadgeo.errors import CubeError
from hadgeo.formats.gdal import exists
from hadgeo.formats.number_lists import shown
from hadgeo.formats.wavelengths import Spectral, spectral

#: Bytes of the largest item that is read.
_LARGEST = 2**26


def stac_bands(name: str, bands: int) -> Spectral:
    """Wavelengths and widths from a STAC item beside ``x.tif``; empty without one.

    It is called ``x.tif.stac.json`` or ``x.stac.json``, or ``x.json`` if it says that it is one.

    Args:
        name: The file that the item describes.
        bands: Number of its bands.

    Raises:
        CubeError: The item is no JSON, or nested too deeply.
    """
    for path in (Path(f"{name}.stac.json"), Path(name).with_suffix(".stac.json")):
        if exists(path):
            return _bands_of(_load(path), path, Path(name).name, bands)
    path = Path(name).with_suffix(".json")
    item = _if_json(path) if exists(path) else None
    is_item = isinstance(item, dict) and ("stac_version" in item or "stac_extensions" in item)
    return _bands_of(item, path, Path(name).name, bands) if is_item else Spectral()


def _if_json(path: Path) -> Any:
    """What a file holds that may be anything; None where it is no JSON."""
    try:
        return _load(path)
    except CubeError:
        return None


def _load(path: Path) -> Any:
    try:
        if path.stat().st_size > _LARGEST:
            raise CubeError(f"{path}: too large for a STAC item; delete or correct it")
        return json.loads(path.read_text(encoding="utf-8"))
    except RecursionError:
        raise CubeError(f"{path}: not a STAC item (nested too deeply); delete or correct it") from None
    except CubeError:
        raise
    except (OSError, ValueError) as error:
        raise CubeError(f"{path}: not a STAC item ({error}); delete or correct it") from error


def _bands_of(item: Any, path: Path, filename: str, bands: int) -> Spectral:
    described = next(_descriptions(item, filename), None)
    if described is None:
        return Spectral()
    if not isinstance(described, list) or not all(isinstance(band, dict) for band in described):
        return Spectral(warnings=(f"{path.name} does not describe bands the way STAC does: ignored",))
    fields: dict[str, list[str]] = {}
    for key, term in (("wavelength", "center_wavelength"), ("fwhm", "full_width_half_max")):
        values = [band.get(term, band.get(f"eo:{term}")) for band in described]
        known = [isinstance(value, int | float) and not isinstance(value, bool) for value in values]
        wrong = next((v for v, is_known in zip(values, known, strict=True) if v is not None and not is_known), None)
        if wrong is not None and not isinstance(wrong, str):
            return Spectral(warnings=(f"{path.name} has a {term} of {shown(str(wrong)[:80])}: ignored",))
        # Half of the widths are worth nothing, while a band without its centre is a bad one.
        if all(value is not None for value in values) or (key == "wavelength" and 2 * sum(known) > len(values)):
            fields[key] = ["nan" if value is None else str(value) for value in values]
    if not fields:
        return Spectral()
    return spectral({**fields, "wavelength units": "um"}, bands, str(path))


def _descriptions(item: Any, filename: str) -> Iterator[Any]:
    """What may describe the bands: of the asset that is the file itself, of the item, or of all that is beside it."""
    item = item if isinstance(item, dict) else {}
    assets = item.get("assets")
    values = assets.values() if isinstance(assets, dict) else ()
    own = [a for a in values if isinstance(a, dict) and str(a.get("href", "")).endswith(filename)]
    for holder in (*own, item.get("properties"), item):
        if isinstance(holder, dict) and (described := holder.get("eo:bands") or holder.get("bands")):
            yield described
