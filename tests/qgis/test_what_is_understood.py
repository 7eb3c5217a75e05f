"""What parameters understand: words in any case, numbers of words, and files that QGIS itself cannot open."""

import subprocess

import numpy as np
import pytest
from conftest import BACKEND
from hadgeo_qgis.schema import DETECTORS
from osgeo import gdal
from qgis.core import QgsProcessingException, QgsRasterLayer, QgsVectorLayer

_MADE = """
import sys, numpy, scipy.io, h5py
folder = sys.argv[1]
values = numpy.random.default_rng(0).normal(size=(24, 30, 8))
values[5, 7] += 40
truth = numpy.zeros((24, 30), numpy.uint8)
truth[5, 7] = 1
scipy.io.savemat(folder + "/cube.mat", {"data": values, "map": truth})
scipy.io.savemat(folder + "/truth.mat", {"map": truth})
scipy.io.savemat(folder + "/scores.mat", {"scores": values.mean(axis=2)})
with h5py.File(folder + "/groups.h5", "w") as file:
    file.create_dataset("flight/line1/radiance", data=values)
    file.create_dataset("flight/line2/radiance", data=values[::-1])
with h5py.File(folder + "/swath.nc", "w") as file:
    cube = file.create_dataset("reflectance", data=values.astype("f4"))
    bands = file.create_dataset("sensor_band_parameters/wavelengths", data=400.0 + 10 * numpy.arange(8))
    for axis, name in enumerate(("downtrack", "crosstrack", "bands")):
        file[name] = numpy.arange(cube.shape[axis], dtype="f4")
        file[name].make_scale("This is a netCDF dimension but not a netCDF variable.")
        cube.dims[axis].attach_scale(file[name])
    bands.dims[0].attach_scale(file["bands"])
"""


@pytest.fixture(scope="module")
def strange(tmp_path_factory):
    """A folder with a cube, a truth and scores as MATLAB, and two cubes in groups of HDF5."""
    folder = tmp_path_factory.mktemp("strange")
    subprocess.run([BACKEND, "-I", "-c", _MADE, str(folder)], check=True)
    return folder


def tag(path, name="HADGEO_DETECTOR"):
    return gdal.Open(str(path)).GetMetadata()[name]


@pytest.mark.parametrize("given", ["RX", " rx ", str(sorted(DETECTORS).index("rx")), sorted(DETECTORS).index("rx")])
def test_a_detector_in_any_case_or_by_its_number(run, scene, tmp_path, given):
    assert sorted(DETECTORS) == list(DETECTORS)
    run("detect", INPUT=scene, DETECTOR=given, OUTPUT=str(tmp_path / "x.tif"))
    assert tag(tmp_path / "x.tif") == "rx"


@pytest.mark.parametrize("given", ["nonsense", "99", -1, ""])
def test_no_detector_is_refused_with_the_list(run, scene, tmp_path, given):
    for name in ("detect", "train"):
        scenes = scene if name == "detect" else [scene]
        with pytest.raises(QgsProcessingException, match=r"block_rx, bs3lnet, .*, rx, "):
            run(name, INPUT=scenes, DETECTOR=given, OUTPUT=str(tmp_path / "x.tif"))
    assert not list(tmp_path.iterdir())


def test_several_words_and_other_lists(run, scene, tmp_path):
    given = {"TRUTH": scene.replace("line.tif", "line_truth.tif"), "BOOTSTRAP": 0, "OUTPUT": str(tmp_path / "r.html")}
    assert run("compare", INPUT=scene, DETECTORS="RX", **given)["BEST"] == "rx"
    assert run("compare", INPUT=scene, DETECTORS=["Rx"], **given)["BEST"] == "rx"
    with pytest.raises(QgsProcessingException, match="'ry' is none of block_rx"):
        run("compare", INPUT=scene, DETECTORS="rx,ry", **given)
    with pytest.raises(QgsProcessingException, match="none of cfar, "):
        run("detect", INPUT=scene, DETECTOR="bs3lnet", BS3LNET_STATISTIC="median", OUTPUT=str(tmp_path / "x.tif"))


def test_matlab_is_taken_by_every_parameter(run, strange, tmp_path):
    cube, out = str(strange / "cube.mat"), str(tmp_path / "x.tif")
    assert not QgsRasterLayer(cube, "cube").isValid()
    run("detect", INPUT=cube, DETECTOR="rx", OUTPUT=out, POLYGONS=str(tmp_path / "x.gpkg"))
    scores = gdal.Open(out).ReadAsArray()
    assert np.unravel_index(scores.argmax(), scores.shape) == (5, 7)
    run("train", INPUT=[cube], DETECTOR="rx", OUTPUT=str(tmp_path / "m.hadgeo"))
    run("detectwithmodel", INPUT=cube, MODEL=str(tmp_path / "m.hadgeo"), OUTPUT=out)
    run("quicklook", INPUT=cube, SCORES=out, SIZE=100, OUTPUT=str(tmp_path / "q.png"))
    run("threshold", INPUT=str(strange / "scores.mat"), TOP=3, OUTPUT=str(tmp_path / "y.gpkg"))
    told = run(
        "evaluate",
        INPUT=[out, str(strange / "scores.mat")],
        TRUTH=str(strange / "truth.mat"),
        BOOTSTRAP=0,
        OUTPUT=str(tmp_path / "r.html"),
    )
    assert told["AUC"] == 1
    given = {"DETECTORS": ["rx"], "BOOTSTRAP": 0, "OUTPUT": str(tmp_path / "c.html")}
    assert run("compare", INPUT=cube, TRUTH=str(strange / "truth.mat"), **given)["BEST"] == "rx"


def test_an_array_in_a_group_of_hdf5(run, strange, tmp_path):
    file, out = str(strange / "groups.h5"), str(tmp_path / "x.tif")
    for name, row in (("flight/line1/radiance", 5), ("flight/line2/radiance", 18)):
        run("detect", INPUT=file, VARIABLE=name, BAND_AXIS=2, DETECTOR="rx", OUTPUT=out)
        scores = gdal.Open(out).ReadAsArray()
        assert np.unravel_index(scores.argmax(), scores.shape) == (row, 7)
    with pytest.raises(QgsProcessingException, match="line1"):
        run("detect", INPUT=file, DETECTOR="rx", OUTPUT=out)


def test_netcdf_that_qgis_takes_for_a_table_is_a_scene(run, strange, tmp_path):
    file, out = str(strange / "swath.nc"), str(tmp_path / "x.tif")
    assert QgsVectorLayer(file, "swath", "ogr").isValid()
    run("detect", INPUT=file, DETECTOR="rx", OUTPUT=out)
    scores = gdal.Open(out).ReadAsArray()
    assert np.unravel_index(scores.argmax(), scores.shape) == (5, 7)
    run("train", INPUT=[file], DETECTOR="rx", OUTPUT=str(tmp_path / "m.hadgeo"))


def test_a_file_that_is_not_there_or_nothing_is_said(run, scene, tmp_path):
    (tmp_path / "words.txt").write_text("no cube")
    for name in ("nowhere.mat", "words.txt"):
        with pytest.raises(QgsProcessingException, match=name):
            run("detect", INPUT=str(tmp_path / name), DETECTOR="rx", OUTPUT=str(tmp_path / "x.tif"))
    with pytest.raises(QgsProcessingException, match=r"INPUT|nowhere"):
        run("train", INPUT=[scene, str(tmp_path / "nowhere.tif")], DETECTOR="rx", OUTPUT=str(tmp_path / "m.hadgeo"))
    assert [path.name for path in tmp_path.iterdir()] == ["words.txt"]
