"""What a release says of itself in several places is the same everywhere."""

from __future__ import annotations

import configparser
import re
from pathlib import Path

from hatchling.builders.wheel import WheelBuilder

from hadgeo import __version__

ROOT = Path(__file__).parents[1]


def test_every_place_says_the_same_version() -> None:
    citation = (ROOT / "CITATION.cff").read_text(encoding="utf-8")
    assert re.findall(r"^version: (.+)$", citation, flags=re.MULTILINE) == [__version__]
    plugin = configparser.ConfigParser(interpolation=None)
    plugin.read(ROOT / "qgis_plugin" / "hadgeo_qgis" / "metadata.txt", encoding="utf-8")
    assert plugin["general"]["version"] == __version__


def test_the_citation_names_the_paper_of_every_detector_that_has_one() -> None:
    citation = (ROOT / "CITATION.cff").read_text(encoding="utf-8")
    for module, mark in (("bs3lnet", "10.1109/TGRS.2023.3246565"), ("scoread", "2601.12379")):
        assert mark in (ROOT / "hadgeo" / "detectors" / f"{module}.py").read_text(encoding="utf-8")
        assert mark in citation


def test_the_wheel_has_what_pages_are_made_from() -> None:
    packed = {file.distribution_path for file in WheelBuilder(str(ROOT)).recurse_included_files()}
    report = "hadgeo/evidence/report/"
    for name in ("templates/report.html", "assets/page.js", "assets/page.css", "vendor/leaflet.js", "vendor/uPlot.js"):
        assert report + name in packed
    for library in ("leaflet", "uPlot"):
        assert f"{report}vendor/{library}-LICENSE.txt" in packed
