"""What arrays and attributes that describe bands are called."""

from __future__ import annotations

import re

_WAVELENGTH = re.compile(
    r"^((band|center|centre|central|sensor|radiation|spectral)_?)*"
    r"(wave_?lengths?|wavelengths?_(center|centre|nm|um)s?|wvls?|wls?|lambdas?|wave|(center|centre)s?_wavelengths?)"
    r"(_?(center|centre|nm|um|values?|list|array|vector))?s?$"
)
_FWHM = re.compile(r"^(.*_)?(fwhms?|full_width(_at)?_half_max(imum)?|band_?widths?)(_(nm|um))?$")
_GOOD = re.compile(r"^(bbl|good_(wavelengths?|bands?)(_list)?|good|band_?mask)$")

#: Standard names of the CF conventions for band centres end so.
_STANDARD = re.compile(r"^(sensor_band_central_)?radiation_wavelength$")


def is_wavelength(name: str) -> bool:
    """Whether something is called as band centres are."""
    return bool(_WAVELENGTH.match(_plain(name)) or _STANDARD.match(name))


def is_fwhm(name: str) -> bool:
    """Whether something is called as widths of bands are."""
    return bool(_FWHM.match(_plain(name)))


def is_good(name: str) -> bool:
    """Whether something is called as a list of good bands is."""
    return bool(_GOOD.match(_plain(name)))


def unit_in(name: str) -> str:
    """A unit that a name ends with, such as ``wavelength_nm``; empty where there is none."""
    found = re.search(r"_(nm|um)$", _plain(name))
    return found[1] if found else ""


def _plain(name: str) -> str:
    return re.sub(r"[^a-zλ]+", "_", re.sub(r"(?<=[a-z])(?=[A-Z])", "_", name).lower()).strip("_").replace("λ", "lambda")
