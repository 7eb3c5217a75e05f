"""Files that lead elsewhere by what they contain are refused unless asked for, wherever rasters or layers are read."""

from __future__ import annotations

import json
import shutil
import threading
import warnings
import zipfile
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
import rasterio
from affine import Affine
from click.testing import CliRunner
from rasterio.errors import NotGeoreferencedWarning, RasterioIOError
from rasterio.io import DatasetWriter

import hadgeo
from hadgeo.cli import cli
from hadgeo.errors import CubeError, HadgeoError
from hadgeo.formats import open_source
from hadgeo.formats.drivers import check_vector
from hadgeo.formats.gdal import open_dataset
from hadgeo.formats.leading import VARIABLE
from hadgeo.maps.mosaic import make_mosaic
from hadgeo.maps.reader import open_scores
from tests.maps.made import write_map

VRT = (
    '<VRTDataset rasterXSize="6" rasterYSize="5"><VRTRasterBand dataType="Int16" band="1"><SimpleSource>'
    '<SourceFilename relativeToVRT="{relative}">{source}</SourceFilename><SourceBand>1</SourceBand></SimpleSource>'
    "</VRTRasterBand></VRTDataset>"
)

WMS = (
    '<GDAL_WMS><Service name="TMS"><ServerUrl>{url}/${{z}}/${{x}}/${{y}}.png</ServerUrl></Service><DataWindow>'
    "<UpperLeftX>0</UpperLeftX><UpperLeftY>5</UpperLeftY><LowerRightX>6</LowerRightX><LowerRightY>0</LowerRightY>"
    "<SizeX>6</SizeX><SizeY>5</SizeY></DataWindow><BandsCount>1</BandsCount></GDAL_WMS>"
)

WARPED = (
    '<VRTDataset rasterXSize="6" rasterYSize="5" subClass="VRTWarpedDataset"><VRTRasterBand dataType="Int16" band="1" '
    'subClass="VRTWarpedRasterBand"/><GDALWarpOptions><SourceDataset relativeToVRT="0">/vsicurl/{url}/x.tif'
    "</SourceDataset></GDALWarpOptions></VRTDataset>"
)

OGR_VRT = (
    '<OGRVRTDataSource><OGRVRTLayer name="a"><SrcDataSource relativeToVRT="{relative}">{source}</SrcDataSource>'
    "</OGRVRTLayer></OGRVRTDataSource>"
)

PAM = '<PAMDataset><Metadata domain="OVERVIEWS"><MDI key="OVERVIEW_FILE">{}</MDI></Metadata></PAMDataset>'


class Server:
    """A server of this computer that counts what is asked of it."""

    def __init__(self) -> None:
        asked: list[str] = []

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                asked.append(self.path)
                self.send_error(404)

            do_HEAD = do_GET  # noqa: N815 - the library's name

            def log_message(self, *_: object) -> None:
                pass

        self.asked = asked
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    server = Server()
    yield server
    server.close()


@pytest.fixture
def here(server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv(VARIABLE, raising=False)
    server.asked.clear()
    return tmp_path


def made(name: str, **profile: object) -> DatasetWriter:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", NotGeoreferencedWarning)
        return rasterio.open(name, "w", **profile)


def raster(name: str, driver: str = "GTiff") -> None:
    profile = {"driver": driver, "width": 6, "height": 5, "count": 2, "dtype": "int16"}
    with rasterio.open(name, "w", transform=Affine(2, 0, 50, 0, -2, 90), crs="EPSG:32633", **profile) as dataset:
        dataset.write(np.arange(60, dtype=np.int16).reshape(2, 5, 6) + 1)


def polygons(name: str, driver: str) -> None:
    pyogrio, shapely = pytest.importorskip("pyogrio"), pytest.importorskip("shapely")
    shapes = shapely.to_wkb(np.array([shapely.box(52, 82, 58, 88)]))
    pyogrio.raw.write(name, shapes, [np.array([1])], ["id"], geometry_type="Polygon", crs="EPSG:32633", driver=driver)


def _beside(suffix: str, text: str) -> None:
    raster("x.tif")
    Path(f"x.tif{suffix}").write_text(text)


def _in_tiff(url: str) -> None:
    raster("x.tif")
    with rasterio.open("x.tif", "r+") as dataset:
        dataset.update_tags(ns="OVERVIEWS", OVERVIEW_FILE=f"/vsicurl/{url}/o.tif")


def _elsewhere() -> None:
    """An ERDAS Imagine file whose samples lie in another folder."""
    Path("far").mkdir()
    Path("near").mkdir()
    raster("far/y.img", "HFA")
    data = Path("far/y.img").read_bytes()
    Path("near/x.img").write_bytes(data)
    Path("near/x.img.aux.xml").write_text(PAM.format("../far/y.img"))


#: What leads elsewhere: what is opened, and how it comes about.
LEADING: dict[str, tuple[str, Callable[[str], object]]] = {
    "virtual raster called .img": (
        "v.img",
        lambda _: (raster("a.tif"), _text("v.img", VRT, relative=1, source="a.tif")),
    ),
    "virtual raster called .tif": (
        "v.tif",
        lambda _: (raster("a.tif"), _text("v.tif", VRT, relative=1, source="a.tif")),
    ),
    "web map called .tif": ("w.tif", lambda url: _text("w.tif", WMS, url=url)),
    "network in .vrt": ("n.vrt", lambda url: _text("n.vrt", VRT, relative=0, source=f"/vsicurl/{url}/x.tif")),
    "network in .vrt, streamed": (
        "n.vrt",
        lambda url: _text("n.vrt", VRT, relative=0, source=f"/vsicurl_streaming/{url}/x.tif"),
    ),
    "archive on the network": (
        "n.vrt",
        lambda url: _text("n.vrt", VRT, relative=0, source=f"/vsizip//vsicurl/{url}/x.zip"),
    ),
    "address in .vrt": ("n.vrt", lambda url: _text("n.vrt", VRT, relative=0, source=f"{url}/x.tif")),
    "bucket in .vrt": ("n.vrt", lambda _: _text("n.vrt", VRT, relative=0, source="/vsis3/bucket/x.tif")),
    "warped network": ("n.vrt", lambda url: _text("n.vrt", WARPED, url=url)),
    "web map in .vrt": (
        "m.vrt",
        lambda url: (_text("w.tif", WMS, url=url), _text("m.vrt", VRT, relative=1, source="w.tif")),
    ),
    "web map called .vrt in .vrt": (
        "m.vrt",
        lambda url: (_text("w.vrt", WMS, url=url), _text("m.vrt", VRT, relative=1, source="w.vrt")),
    ),
    "virtual raster before a zero": (
        "v.img",
        lambda url: Path("v.img").write_text(VRT.format(relative=0, source=f"/vsicurl/{url}/x.tif") + "\0" * 99),
    ),
    "network before a zero": (
        "v.vrt",
        lambda url: Path("v.vrt").write_text(VRT.format(relative=0, source=f"/vsicurl/{url}/x.tif") + "\0" * 99),
    ),
    "network behind two": (
        "m.vrt",
        lambda url: (
            _text("n.vrt", VRT, relative=0, source=f"/vsicurl/{url}/x.tif"),
            _text("m.vrt", VRT, relative=1, source="n.vrt"),
        ),
    ),
    "a web map itself in .vrt": (
        "m.vrt",
        lambda url: _text("m.vrt", VRT, relative=0, source=WMS.format(url=url).replace("<", "&lt;")),
    ),
    "an image whose samples lie elsewhere in .vrt": (
        "m.vrt",
        lambda _: (_elsewhere(), _text("m.vrt", VRT, relative=1, source="near/x.img")),
    ),
    "a format of no samples in .vrt": (
        "m.vrt",
        lambda _: (Path("x.toc").write_bytes(b"A.TOC\0" * 99), _text("m.vrt", VRT, relative=1, source="x.toc")),
    ),
    "itself": ("m.vrt", lambda _: _text("m.vrt", VRT, relative=1, source="m.vrt")),
    "mask beside": ("x.tif", lambda url: _beside(".msk", VRT.format(relative=0, source=f"/vsicurl/{url}/x.tif"))),
    "overviews beside": ("x.tif", lambda url: _beside(".ovr", WMS.format(url=url))),
    "metadata beside": ("x.tif", lambda url: _beside(".aux.xml", PAM.format(f"/vsicurl/{url}/o.tif"))),
    "metadata within": ("x.tif", _in_tiff),
    "another folder": ("near/x.img", lambda _: _elsewhere()),
    "by its prefix": (
        "vrt://v.img?bands=1",
        lambda _: (raster("a.tif"), _text("v.img", VRT, relative=1, source="a.tif")),
    ),
}


def _text(name: str, template: str, **values: object) -> None:
    Path(name).write_text(template.format(**values))


@pytest.mark.parametrize("kind", LEADING)
def test_a_raster_that_leads_elsewhere_is_refused(kind: str, here: Path, server: Server) -> None:
    name, make = LEADING[kind]
    make(server.url)
    with pytest.raises(CubeError) as refused:
        open_source(name)
    told = str(refused.value)
    assert VARIABLE in told or "leads to itself" in told or "not a virtual raster that can be read" in told
    assert server.asked == []


def test_the_user_may_ask_for_all_of_it(here: Path, server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    raster("a.tif")
    _text("v.img", VRT, relative=1, source="a.tif")
    _text("w.tif", WMS, url=server.url)
    _text("n.vrt", VRT, relative=0, source=f"/vsicurl/{server.url}/x.tif")
    everything = slice(0, 5), slice(0, 6)
    monkeypatch.setenv(VARIABLE, "VRT")
    assert open_source("v.img").read(*everything).sum() == sum(range(1, 31))
    with pytest.raises(HadgeoError):
        open_source("n.vrt").read(*everything)
    assert server.asked
    with pytest.raises(CubeError, match="not a raster"):
        open_source("w.tif")
    for value in ("VRT, WMS", "ALL"):
        monkeypatch.setenv(VARIABLE, value)
        with open_dataset("w.tif") as dataset:
            assert dataset.driver == "WMS"


@pytest.mark.parametrize("driver", ["GTiff", "ENVI", "HFA", "EHdr", "PNG", "JP2OpenJPEG"])
def test_rasters_that_hold_their_own_samples_are_read(driver: str, here: Path) -> None:
    if driver in ("PNG", "JP2OpenJPEG"):
        with made("x", driver=driver, width=64, height=64, count=1, dtype="uint8") as dataset:
            dataset.write(np.ones((1, 64, 64), dtype=np.uint8))
    elif driver == "EHdr":
        with made("x", driver=driver, width=6, height=5, count=1, dtype="int16") as dataset:
            dataset.write(np.ones((1, 5, 6), dtype=np.int16))
    else:
        raster("x", driver)
    with open_dataset("x") as dataset:
        assert (dataset.driver, dataset.read(1).min() > 0) == (driver, True)


def test_a_virtual_raster_by_name_is_followed_on_this_computer(here: Path) -> None:
    raster("a.tif")
    Path("sub").mkdir()
    _text("l.vrt", VRT, relative=1, source="a.tif")
    _text("sub/up.VRT", VRT, relative=1, source="../l.vrt")
    _text("full.vrt", VRT, relative=0, source=here / "a.tif")
    shutil.copy("a.tif", "is_a_tiff.vrt")
    for name in ("l.vrt", "sub/up.VRT", "full.vrt", "is_a_tiff.vrt", "vrt://a.tif?bands=1"):
        with open_dataset(name) as dataset:
            assert dataset.read(1).sum() == sum(range(1, 31))


def test_raw_samples_in_a_virtual_raster_are_read(here: Path) -> None:
    Path("x.bin").write_bytes(np.arange(30, dtype="<i2").tobytes())
    Path("raw.vrt").write_text(
        '<VRTDataset rasterXSize="6" rasterYSize="5"><VRTRasterBand dataType="Int16" band="1" '
        'subClass="VRTRawRasterBand"><SourceFilename relativeToVRT="1">x.bin</SourceFilename><ImageOffset>0'
        "</ImageOffset><PixelOffset>2</PixelOffset><LineOffset>12</LineOffset><ByteOrder>LSB</ByteOrder>"
        "</VRTRasterBand></VRTDataset>"
    )
    with open_dataset("raw.vrt") as dataset:
        assert dataset.read(1).sum() == sum(range(30))


def test_a_mosaic_of_hadgeos_own_is_read_as_a_map(here: Path) -> None:
    scores = np.arange(12, dtype=np.float32).reshape(3, 4)
    for name, west in (("a.tif", 0), ("b.tif", 8)):
        write_map(here / name, scores, transform=Affine(2, 0, west, 0, -2, 6), crs="EPSG:32633")
    make_mosaic([here / "a.tif", here / "b.tif"], here / "all.vrt")
    assert open_scores(here / "all.vrt").shape == (3, 8)


def test_what_is_named_on_the_network_is_looked_for_there(here: Path, server: Server) -> None:
    with pytest.raises(CubeError, match="404"):
        open_source(f"/vsicurl/{server.url}/named.tif")
    assert "/named.tif" in server.asked


#: Vector files that lead elsewhere, likewise.
LEADING_VECTORS: dict[str, tuple[str, Callable[[str], object]]] = {
    "OGR VRT called .geojson": ("v.geojson", lambda _: _text("v.geojson", OGR_VRT, relative=1, source="a.gpkg")),
    "OGR VRT called .gpkg": ("v.gpkg", lambda _: _text("v.gpkg", OGR_VRT, relative=1, source="a.gpkg")),
    "OGR VRT in a comment": ("v.kml", lambda _: Path("v.kml").write_text("<!-- <OGRVRTDataSource> --><kml/>")),
    "network in .vrt": ("v.vrt", lambda url: _text("v.vrt", OGR_VRT, relative=0, source=f"/vsicurl/{url}/a.gpkg")),
    "database in .vrt": ("v.vrt", lambda _: _text("v.vrt", OGR_VRT, relative=0, source="PG:dbname=secrets")),
    "web features in .vrt": (
        "v.vrt",
        lambda url: (
            Path("w.gml").write_text(f"<OGRWFSDataSource><URL>{url}</URL></OGRWFSDataSource>"),
            _text("v.vrt", OGR_VRT, relative=1, source="w.gml"),
        ),
    ),
    "web features": (
        "w.gml",
        lambda url: Path("w.gml").write_text(f"<OGRWFSDataSource><URL>{url}</URL></OGRWFSDataSource>"),
    ),
    "an algorithm": (
        "g.json",
        lambda url: Path("g.json").write_text(
            json.dumps({"type": "gdal_streamed_alg", "command_line": f"gdal vector read /vsicurl/{url}/a.gpkg"})
        ),
    ),
    "a table of tables": ("t.tab", lambda _: _tables('"\\IsSeamless" = "TRUE"')),
    "a table of tables, far down": ("t.tab", lambda _: _tables("x" * 100_000 + '\n  "\\isseamless"="true"')),
    "a view of tables": ("t.tab", lambda _: _tables('Open Table "../a.tab" Hide\nCreate View t As\nSelect *\nFrom a')),
    "a description without end": ("t.tab", lambda _: _tables("x" * 2**24)),
    "a label": ("l.lbl", lambda _: Path("l.lbl").write_text('PDS_VERSION_ID = PDS3\n^TABLE = ("../a.tab", 1)\n')),
    "unknown XML": ("u.gml", lambda _: Path("u.gml").write_text("<somewhere>else</somewhere>")),
    "in an archive": ("v.zip", lambda _: _zipped(OGR_VRT.format(relative=1, source="a.gpkg"))),
}


def _tables(lines: str) -> None:
    Path("t.tab").write_text(f"!table\n!version 300\n\nDefinition Table\n  Type NATIVE\n  Fields 0\n{lines}\n")


def _zipped(text: str) -> None:
    with zipfile.ZipFile("v.zip", "w") as archive:
        archive.writestr("v.geojson", text)


@pytest.mark.parametrize("kind", LEADING_VECTORS)
def test_a_vector_file_that_leads_elsewhere_is_refused(
    kind: str, here: Path, server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    name, make = LEADING_VECTORS[kind]
    make(server.url)
    with pytest.raises(CubeError, match=VARIABLE):
        check_vector(name)
    assert server.asked == []
    monkeypatch.setenv(VARIABLE, "all")
    check_vector(name)


@pytest.mark.parametrize(
    ("name", "driver"),
    [
        ("a.gpkg", "GPKG"),
        ("a.geojson", "GeoJSON"),
        ("a.shp", "ESRI Shapefile"),
        ("a.fgb", "FlatGeobuf"),
        ("a.kml", "KML"),
        ("a.gml", "GML"),
        ("a.tab", "MapInfo File"),
        ("a.mif", "MapInfo File"),
    ],
)
def test_vector_files_that_hold_their_own_polygons_are_read(name: str, driver: str, here: Path) -> None:
    pyogrio = pytest.importorskip("pyogrio")
    polygons(name, driver)
    check_vector(name)
    assert len(pyogrio.raw.read(name, columns=[])[2]) == 1
    _text("v.vrt", OGR_VRT, relative=1, source=name)
    check_vector("v.vrt")


# rasterio's, while it logs the same.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_what_gdal_says_of_a_file_may_be_no_text(here: Path) -> None:
    pytest.importorskip("pyogrio")
    polygons("a.gpkg", "GPKG")
    content = Path("a.gpkg").read_bytes()
    odd = content.replace(b"CREATE TABLE gpkg_contents", b"CREATE TABL\xff gpkg_contents")
    assert odd != content
    Path("a.gpkg").write_bytes(odd)
    with pytest.raises(RasterioIOError, match="bytes that are not UTF-8"):
        open_dataset("a.gpkg")


def test_what_is_no_vector_file_is_left_to_who_reads_it(here: Path) -> None:
    for name, content in (("empty.geojson", b""), ("torn.geojson", b'{"type": "Fea'), ("odd.gpkg", b"\xff\xfe\0")):
        Path(name).write_bytes(content)
        check_vector(name)
    check_vector("not there.gpkg")


def _external_link(h5py: ModuleType) -> None:
    with h5py.File("x.h5", "w") as file:
        file["cube"] = h5py.ExternalLink("other.h5", "/cube")


def _external_samples(h5py: ModuleType) -> None:
    Path("samples.bin").write_bytes(bytes(480))
    with h5py.File("x.h5", "w") as file:
        file.create_dataset("cube", (4, 5, 6), "f4", external=[("samples.bin", 0, 480)])


def _virtual_array(h5py: ModuleType) -> None:
    layout = h5py.VirtualLayout((4, 5, 6), "f4")
    layout[:] = h5py.VirtualSource("other.h5", "cube", (4, 5, 6))
    with h5py.File("x.h5", "w") as file:
        file.create_virtual_dataset("cube", layout)


@pytest.mark.parametrize("make", [_external_link, _external_samples, _virtual_array])
@pytest.mark.parametrize("name", ["x.h5", "x.mat"])
def test_an_hdf5_file_whose_samples_lie_in_another_is_refused(
    make: Callable[[ModuleType], None], name: str, here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    h5py = pytest.importorskip("h5py")
    with h5py.File("other.h5", "w") as file:
        file["cube"] = np.ones((4, 5, 6), dtype=np.float32)
    make(h5py)
    Path("x.h5").rename(name)
    with pytest.raises(CubeError, match=r"it names (other\.h5|samples\.bin) as a part of it"):
        open_source(name)
    monkeypatch.setenv(VARIABLE, "all")
    told = ""
    try:
        open_source(name)
    except HadgeoError as error:
        # That it does not say which axis counts bands, perhaps.
        told = str(error)
    assert VARIABLE not in told


@pytest.fixture
def scene(here: Path) -> Path:
    """A scene with its map, and things beside it that lead elsewhere."""
    hadgeo.simulate(here / "line.img", rows=30, cols=20, bands=10, targets=2)
    hadgeo.detect(here / "line.img", "rx", out=here / "map.tif")
    _text("v.img", VRT, relative=1, source="map.tif")
    _text("v.tif", VRT, relative=1, source="map.tif")
    _text("v.geojson", OGR_VRT, relative=1, source="line.geojson")
    return here


@pytest.mark.parametrize(
    "words",
    [
        "detect v.tif -d rx",
        "detect line.img -d rx --mask v.tif",
        "detect line.img -d rx --mask v.geojson",
        "detect line.img -d rx --background v.tif",
        "detect line.img -d rx --exclude v.geojson",
        "detect line.img -d rx --glt v.tif",
        "detect line.img -d rx --igm v.tif",
        "match line.img --like v.geojson#1",
        "info v.tif",
        "train v.tif -d rx -o m.hadgeo",
        "threshold v.tif",
        "threshold map.tif --scene v.tif --evidence e.nc",
        "evaluate v.tif line_truth.tif",
        "evaluate map.tif v.tif",
        "evaluate map.tif v.geojson",
        "compare line.img --truth v.tif -d rx",
        "quicklook v.tif -o q.png",
        "quicklook line.img v.tif -o q.png",
        "quicklook line.img map.tif --polygons v.geojson -o q.png",
        "report line.img map.tif v.geojson -o r.html",
    ],
)
def test_every_command_refuses_in_one_line(words: str, scene: Path, server: Server) -> None:
    before = {path.name for path in scene.iterdir()}
    result = CliRunner().invoke(cli, words.split())
    told = [line for line in result.stderr.splitlines() if line.startswith("hadgeo: error: ")]
    assert (result.exit_code, len(told)) == (2, 1), result.output
    assert VARIABLE in told[0]
    assert {path.name for path in scene.iterdir()} == before
