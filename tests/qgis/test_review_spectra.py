"""Spectra in the dock: the numbers of the file, and those of the backend's evidence."""

import shutil

import numpy as np
import pytest
from hadgeo_qgis.review import bands, evidence, locate, true_colour
from hadgeo_qgis.review.locate import Locator
from hadgeo_qgis.review.plot import SpectrumPlot, ticks
from hadgeo_qgis.review.scene import CHIP_SIDE, Scene, SceneError
from osgeo import gdal
from qgis.core import QgsCoordinateReferenceSystem, QgsPointXY, QgsRasterLayer, QgsVectorLayer

gdal.UseExceptions()


@pytest.fixture
def scene(found):
    return Scene(str(found / "line.tif"))


def located(found, name="line.gpkg", raster="line.tif"):
    layer = QgsVectorLayer(str(found / name), "anomalies", "ogr")
    scene = Scene(str(found / raster))
    seen = bands.detectors_bands(bands.tag(str(found / "line_anomaly.tif")), scene.shape[0])
    scene.good = seen
    return layer, Locator(scene, QgsRasterLayer(str(found / raster), "scene").crs(), layer)


def stored(path):
    """The whole scene in its units, read without the plugin."""
    dataset = gdal.Open(str(path))
    scale = [dataset.GetRasterBand(i + 1).GetScale() for i in range(dataset.RasterCount)]
    return dataset.ReadAsArray() * np.array(scale)[:, None, None]


@pytest.mark.parametrize("name", ["line.gpkg", "line_geo.geojson"])
def test_a_look_has_the_numbers_of_the_backends_evidence(found, name):
    layer, locator = located(found, name)
    group = gdal.OpenEx(str(found / "line.nc"), gdal.OF_MULTIDIM_RASTER).GetRootGroup()
    told = {
        key: group.OpenMDArray(key).ReadAsArray() for key in ("id", "band", "spectrum", "expected", "spread", "pixels")
    }
    kept = told["band"] - 1
    features = {feature["id"]: feature for feature in layer.getFeatures()}
    assert len(features) == len(told["id"]) > 5
    for row, number in enumerate(told["id"]):
        look = locator.look_at(features[number])
        assert look.pixels == told["pixels"][row] == features[number]["pixels"]
        for key in ("spectrum", "expected", "spread"):
            np.testing.assert_allclose(getattr(look, key)[kept], told[key][row], rtol=1e-5, atol=1e-7)


def test_a_clicked_pixel_has_the_values_of_the_file(found):
    _, locator = located(found)
    whole = stored(found / "line.tif")
    for row, col in ((0, 0), (17, 40), (63, 63)):
        look = locator.look_at_pixel(row, col)
        np.testing.assert_allclose(look.spectrum, whole[:, row, col], rtol=1e-9)
        assert look.pixels == 1
    with pytest.raises(SceneError, match="no pixel"):
        locator.look_at_pixel(64, 0)


def test_a_place_on_a_rotated_scene_in_another_system_finds_its_pixel(found):
    _, locator = located(found)
    transform = gdal.Open(str(found / "line.tif")).GetGeoTransform()
    assert transform[2] != 0
    point = QgsPointXY(*gdal.ApplyGeoTransform(transform, 40.5, 17.5))
    utm = QgsCoordinateReferenceSystem("EPSG:32633")
    assert locator.pixel_at(point, utm) == (17, 40)
    degrees = QgsCoordinateReferenceSystem("EPSG:4326")
    there = locate.QgsCoordinateTransform(utm, degrees, locate.QgsProject.instance()).transform(point)
    assert locator.pixel_at(there, degrees) == (17, 40)


def test_a_scene_without_a_place_is_in_columns_and_rows(found, tmp_path):
    source = gdal.Open(str(found / "line.tif"))
    plain = gdal.GetDriverByName("GTiff").Create(str(tmp_path / "plain.tif"), 64, 64, 3, gdal.GDT_Int16)
    plain.WriteArray(source.ReadAsArray()[:3])
    plain = None
    layer = QgsVectorLayer("Polygon?field=id:integer", "anomalies", "memory")
    layer.setCrs(QgsCoordinateReferenceSystem())
    locator = Locator(Scene(str(tmp_path / "plain.tif")), QgsCoordinateReferenceSystem(), layer)
    nowhere = QgsCoordinateReferenceSystem()
    # QGIS hangs such a raster below the axis.
    assert QgsRasterLayer(str(tmp_path / "plain.tif"), "plain").extent().yMinimum() == -64
    assert locator.pixel_at(QgsPointXY(40.5, -17.5), nowhere) == (17, 40)
    np.testing.assert_array_equal(locator.look_at_pixel(17, 40).spectrum, source.ReadAsArray()[:3, 17, 40])
    placed = QgsVectorLayer(str(found / "line.gpkg"), "anomalies", "ogr")
    with pytest.raises(SceneError, match="georeferenced"):
        Locator(Scene(str(tmp_path / "plain.tif")), QgsCoordinateReferenceSystem(), placed)


def test_another_scene_is_refused(found, tmp_path):
    layer, _ = located(found)
    gdal.Translate(str(tmp_path / "far.tif"), str(found / "line.tif"), outputBounds=None)
    far = gdal.Open(str(tmp_path / "far.tif"), gdal.GA_Update)
    moved = list(far.GetGeoTransform())
    moved[0] += 5000
    far.SetGeoTransform(moved)
    far = None
    locator = Locator(Scene(str(tmp_path / "far.tif")), layer.crs(), layer)
    with pytest.raises(SceneError, match="outside of this scene"):
        locator.look_at(next(layer.getFeatures()))
    with pytest.raises(SceneError, match="cannot be read"):
        Scene(str(tmp_path / "nothing.tif"))


def test_pixels_without_data_are_left_out(found, tmp_path):
    path = tmp_path / "holes.tif"
    shutil.copy(found / "line.tif", path)
    dataset = gdal.Open(str(path), gdal.GA_Update)
    nodata = dataset.GetRasterBand(1).GetNoDataValue()
    hole = np.full((30, 4, 4), nodata)
    dataset.WriteArray(hole, 10, 10)
    dataset = None
    layer = QgsVectorLayer(str(found / "line.gpkg"), "anomalies", "ogr")
    locator = Locator(Scene(str(path)), layer.crs(), layer)
    with pytest.raises(SceneError, match="no data"):
        locator.look_at_pixel(11, 11)
    look = locator.look_at_pixel(11, 15)
    assert np.isfinite(look.expected[locator.scene.good]).all()
    assert look.expected[locator.scene.good].min() > 0


def test_evidence_is_found_by_the_manifest_and_says_what_the_detector_expected(found, tmp_path):
    layer, locator = located(found)
    told = evidence.find(str(found / "line.gpkg"), str(found / "line_anomaly.tif"), 30)
    feature = next(f for f in layer.getFeatures() if f["id"] == 1)
    look = locator.look_at(feature)
    better = told.improve(look, 1)
    np.testing.assert_array_equal(better.spectrum, look.spectrum)
    kept = np.isfinite(better.expected)
    np.testing.assert_allclose(better.expected[kept], look.expected[kept], rtol=1e-5)
    assert kept.sum() > 20
    # An anomaly of other pixels, or of none that is known, keeps its surroundings.
    assert told.improve(locator.look_at_pixel(3, 3), 9999).told == "median of the surroundings"
    assert evidence.find(str(found / "line_geo.geojson"), "", 30) is None
    assert evidence.find(str(found / "line.gpkg"), "", 3) is None
    (tmp_path / "x.json").write_text("no manifest")
    assert evidence.find(str(tmp_path / "x.gpkg"), "", 30) is None


def test_wavelengths_are_read_wherever_gdal_has_them(tmp_path):
    raw = np.zeros((4, 2, 2), dtype=np.int16)
    raw.tofile(tmp_path / "x.img")
    header = "ENVI\nsamples=2\nlines=2\nbands=4\ndata type=2\ninterleave=bsq\nbyte order=0\n"
    for units, values in (
        ("Micrometers", "0.46,0.55,0.64,1.4"),
        ("Nanometers", "460,550,640,1400"),
        ("", ".46,.55,.64,1.4"),
    ):
        named = f"wavelength units={units}\n" if units else ""
        (tmp_path / "x.hdr").write_text(f"{header}wavelength={{{values}}}\n{named}bbl={{1,0,1,1}}\n")
        dataset = gdal.Open(str(tmp_path / "x.img"))
        centres = bands.wavelengths(dataset)
        np.testing.assert_allclose(centres, [460, 550, 640, 1400])
        # One is bad in the header, and one in water vapour.
        assert bands.good_bands(dataset, centres).tolist() == [True, False, True, False]
    (tmp_path / "x.hdr").write_text(header)
    dataset = gdal.Open(str(tmp_path / "x.img"))
    assert np.isnan(bands.wavelengths(dataset)).all()
    assert bands.good_bands(dataset, bands.wavelengths(dataset)).all()


def test_true_colour_takes_the_good_bands_nearest_to_what_eyes_see():
    centres = np.arange(400.0, 1000, 10)
    good = np.ones(60, dtype=bool)
    assert bands.colour_bands(centres, good) == ((24, 15, 6), "true colour")
    good[24] = False
    assert bands.colour_bands(centres, good)[0][0] in (23, 25)
    assert bands.colour_bands(centres + 1000, good)[1] == "false colour"
    assert bands.colour_bands(np.full(60, np.nan), good)[1] == "false colour"
    assert bands.colour_bands(np.full(3, np.nan), good[:3]) == ((0, 1, 2), "bands 1/2/3")


def test_a_scene_is_shown_in_true_colour(project, found):
    layer = QgsRasterLayer(str(found / "line.tif"), "line")
    project.addMapLayer(layer)
    assert true_colour.can_show(layer)
    told = true_colour.show(layer)
    assert told.startswith("true colour, ")
    centres = bands.wavelengths(gdal.Open(str(found / "line.tif")))
    shown = [band - 1 for band in layer.renderer().usesBands()]
    assert shown == [int(np.abs(centres - nm).argmin()) for nm in bands.TRUE_COLOUR_NM]
    stretch = layer.renderer().redContrastEnhancement()
    values = stored(found / "line.tif")[shown[0]]
    assert stretch.minimumValue() == pytest.approx(np.percentile(values, 2), rel=0.05)
    assert stretch.maximumValue() == pytest.approx(np.percentile(values, 98), rel=0.05)
    assert not true_colour.can_show(layer)
    assert not true_colour.can_show(QgsRasterLayer(str(found / "line_anomaly.tif"), "scores"))


def test_which_bands_a_detector_saw_is_read_from_its_map():
    assert bands.detectors_bands("1-2,4", 5).tolist() == [True, True, False, True, False]
    for text in ("", "all", "1-9"):
        assert bands.detectors_bands(text, 5) is None


def test_a_chip_is_the_scene_around_and_clear_beyond_its_edge(scene):
    chip = scene.chip(0, 0)
    assert chip.shape == (CHIP_SIDE, CHIP_SIDE, 4)
    half = CHIP_SIDE // 2
    assert (chip[:half, :, 3] == 0).all()
    assert (chip[half:, half:, 3] == 255).all()
    assert len(np.unique(chip[half:, half:, 0])) > 20


def test_a_plot_is_drawn(qgis_app, scene):
    plot = SpectrumPlot()
    plot.resize(400, 250)

    def colours():
        image = plot.grab().toImage()
        return {image.pixel(x, y) for x in range(0, 400) for y in range(0, 250)}

    plot.clear("nothing yet")
    assert len(colours()) > 1
    assert 0xFFD62728 not in colours()
    layer = QgsVectorLayer("Polygon?crs=EPSG:32633&field=id:integer", "none", "memory")
    look = Locator(scene, layer.crs(), layer).look_at_pixel(9, 9)
    plot.show_look(scene.wavelengths, scene.good, look)
    assert [curve[0] for curve in plot.curves] == ["expected", "anomaly"]
    # The lines' own colours are in it.
    assert {0xFFD62728, 0xFF1F77B4} <= colours()


def test_ticks_are_round_and_within():
    assert ticks(0, 1, 6) == pytest.approx([0, 0.2, 0.4, 0.6, 0.8, 1])
    assert ticks(390, 2450, 6) == pytest.approx([500, 1000, 1500, 2000])
    assert ticks(3, 3, 5) == [3]
    for low, high in ((-0.3, 0.7), (1e-7, 3e-7), (13, 14000)):
        made = ticks(low, high, 5)
        assert 2 <= len(made) <= 6
        assert low - 1e-9 <= made[0] <= made[-1] <= high + 1e-9
