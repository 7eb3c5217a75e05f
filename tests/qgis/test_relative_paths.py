"""Names without a folder mean files of the folder that QGIS runs in, in every algorithm."""

import shutil
from pathlib import Path

import pytest
from qgis.core import QgsProject


@pytest.fixture
def here(found, scenes, tmp_path, monkeypatch):
    """A folder to run in, with a scene, a truth and a map of scores in it."""
    for name in ("line.tif", "line_truth.tif", "line_anomaly.tif", "line_anomaly.json", "line.gpkg"):
        shutil.copy(found / name, tmp_path / name)
    (tmp_path / "spectrum.txt").write_text("\n".join(f"{400 + 70 * i} {0.1 + 0.01 * i}" for i in range(31)))
    monkeypatch.chdir(tmp_path)
    return tmp_path


CASES = {
    "detect": {
        "INPUT": "line.tif",
        "DETECTOR": "rx",
        "EXCLUDE": "line_truth.tif",
        "OUTPUT": "out/a.tif",
        "POLYGONS": "out/a.gpkg",
        "PFA": 0.01,
        "SPECTRA": True,
        "SUPPRESS": "shadow",
        "SUPPRESSED_MASK": "out/shadow.tif",
    },
    "mission": {
        "INPUT": ["line.tif"],
        "DETECTOR": "rx",
        "PFA": 0.01,
        "OUTPUT": "out/maps",
        "POLYGONS": "out/m.gpkg",
        "REPORT": "out/r.html",
    },
    "train": {"INPUT": ["line.tif"], "DETECTOR": "rx", "OUTPUT": "out/m.hadgeo"},
    "detectwithmodel": {"INPUT": "line.tif", "MODEL": "line.hadgeo", "OUTPUT": "out/a.tif"},
    "match": {"INPUT": "line.tif", "SPECTRUM": "spectrum.txt", "OUTPUT": "out/a.tif"},
    "threshold": {"INPUT": "line_anomaly.tif", "PFA": 0.01, "OUTPUT": "out/a.gpkg", "P_VALUES": "out/p.tif"},
    "evaluate": {
        "INPUT": ["line_anomaly.tif"],
        "TRUTH": "line_truth.tif",
        "BOOTSTRAP": 0,
        "OUTPUT": "out/r.html",
        "PLOT": "out/r.png",
    },
    "compare": {
        "INPUT": "line.tif",
        "TRUTH": "line_truth.tif",
        "DETECTORS": ["rx"],
        "BOOTSTRAP": 0,
        "OUTPUT": "out/r.html",
        "MAPS": "out/maps",
        "PLOT": "out/r.png",
    },
    "quicklook": {"INPUT": "line.tif", "SCORES": "line_anomaly.tif", "POLYGONS": "line.gpkg", "OUTPUT": "out/q.png"},
    "simulate": {"ROWS": 20, "COLS": 20, "BANDS": 12, "TARGETS": 1, "OUTPUT": "out/s.tif"},
}


@pytest.mark.parametrize("name", CASES)
def test_outputs_and_inputs_without_a_folder_are_those_of_this_one(run, here, name):
    (here / "out").mkdir()
    if name == "detectwithmodel":
        run("train", INPUT=["line.tif"], DETECTOR="rx", OUTPUT="line.hadgeo")
    given = CASES[name]
    told = run(name, **given)
    outputs = {key: value for key, value in given.items() if str(value).startswith("out/")}
    for key, value in outputs.items():
        assert told[key] == str(here / value)
        assert (here / value).exists(), key
    assert not list(here.rglob("*.part"))


def test_every_algorithm_with_an_output_is_among_these(provider):
    wanting = {a.name() for a in provider.algorithms() if a.destinationParameterDefinitions()}
    assert wanting == set(CASES)


def test_a_relative_output_is_loaded_and_named(provider, here):
    import processing
    from conftest import Log

    QgsProject.instance().clear()
    processing.runAndLoadResults(
        "hadgeo:detect", {"INPUT": "line.tif", "DETECTOR": "rx", "OUTPUT": "x.tif"}, feedback=Log()
    )
    (layer,) = QgsProject.instance().mapLayers().values()
    assert Path(layer.source()) == here / "x.tif"
    assert layer.name() == "Anomaly scores – line"
    QgsProject.instance().clear()


def test_an_array_within_a_file_keeps_its_name(here):
    from hadgeo_qgis import handover

    assert handover.absolute('HDF5:"line.tif"://cube') == f'HDF5:"{here}/line.tif"://cube'
    assert handover.absolute("NETCDF:line.tif:cube") == f"NETCDF:{here}/line.tif:cube"
    assert handover.absolute("spectrum.txt#oak") == f"{here}/spectrum.txt#oak"
    assert handover.absolute("/vsizip/a.zip/x.tif") == "/vsizip/a.zip/x.tif"
    assert handover.absolute_output("") == ""
    assert handover.absolute("") == ""
