"""Sound inputs of every kind that hadgeo reads, each with the commands that read it and the ways to spoil it."""

from __future__ import annotations

import json
import os
import shutil
import warnings
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import rasterio
import scipy.io
from affine import Affine

import hadgeo
from hadgeo.maps.part_folder import JOURNAL
from tests.formats.container_files import coordinates, write_netcdf4
from tests.formats.envi_files import write_envi
from tests.formats.products import makers
from tests.fuzzing import mutants
from tests.fuzzing.mutants import Mutator

#: The word of a command that stands for a job of the worker, whose file follows.
JOB = "job"

_QUIET = ("--progress", "none")

#: What a scene is made of: enough for every command, and little enough to be scored at once.
_ROWS, _COLS, _BANDS = 16, 12, 8

_DETECT = ("detect", "{}", "-d", "rx", "-o", "out.tif", *_QUIET)
_INFO = ("info", "{}", "-d", "rx", "--json")


@dataclass(frozen=True)
class Kind:
    """A kind of input.

    Attributes:
        name: What it is called.
        folder: Sound files, which together run.
        file: The one of them that is spoiled.
        spoil: How.
        commands: Commands that read it, in that folder.
    """

    name: str
    folder: Path
    file: str
    spoil: Mutator
    commands: tuple[tuple[str, ...], ...]


def make_kinds(home: Path) -> list[Kind]:
    """Make the sound inputs of all kinds in folders of their own."""
    here = Path.cwd()
    scene = _scenes(home / "scene")
    kinds: list[Kind] = []
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            for make in (_headers, _rasters, _matlab, _containers, _products, _geometry, _values):
                kinds += make(home)
            for make in (_models, _vectors, _spectra, _runs):
                kinds += make(home, scene)
    finally:
        os.chdir(here)
    return kinds


def place_of(home: Path) -> Path:
    """Where each mutant stands in its turn: hadgeo writes down names in full."""
    return home.parent / "here"


def _stored(folder: Path, to: Path) -> Path:
    """Take what was made in that place away from there."""
    os.chdir(folder.parent)
    return Path(shutil.move(folder, to))


def _on(name: str, *commands: tuple[str, ...]) -> tuple[tuple[str, ...], ...]:
    return tuple(tuple(word.replace("{}", name) for word in command) for command in commands)


def _new(home: Path, name: str, like: Path | None = None) -> Path:
    folder = home / name
    if like is not None:
        shutil.copytree(like, folder)
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def _cube(dtype: str = "f4") -> np.ndarray:
    draw = np.random.default_rng(3)
    spectra = draw.uniform(500, 3000, (3, _BANDS))
    cube = spectra[draw.integers(0, 3, (_ROWS, _COLS))] + draw.normal(0, 40, (_ROWS, _COLS, _BANDS))
    cube[8, 5], cube[3, 9] = 6000 - cube[8, 5], 7000 - cube[3, 9]
    return cube.transpose(2, 0, 1).round().astype(dtype)


def _scenes(folder: Path) -> Path:
    """A scene, its map, its anomalies in every format, with verdicts too, evidence, a truth and a model."""
    folder.mkdir(parents=True)
    os.chdir(folder)
    write_envi(Path("s.img"), _cube("i2"), header="s.hdr", fwhm="{" + ", ".join(["9"] * _BANDS) + "}", bbl=_ones())
    _command("detect s.img -d rx -o map.tif -p shrinkage=0.1")
    _command("threshold map.tif --top 6 --polygons p.geojson --evidence e.nc --scene s.img")
    _command("threshold map.tif --top 6 --polygons q.gpkg --evidence q.nc --scene s.img")
    review = hadgeo.Review.read("p.geojson")
    said = {number: hadgeo.Verdict("accepted" if number % 2 else "rejected", "a note", "me") for number in review.ids}
    told = hadgeo.Review(said, review.ids, review._layer)
    told.write("v.csv")
    told.write("v.geojson")
    truth = np.zeros((_ROWS, _COLS), "u1")
    truth[8, 5] = truth[3, 9] = 1
    with rasterio.open("map.tif") as scores:
        profile = {"crs": scores.crs, "transform": scores.transform, "width": _COLS, "height": _ROWS}
    with rasterio.open("truth.tif", "w", driver="GTiff", count=1, dtype="uint8", **profile) as file:
        file.write(truth, 1)
    hadgeo.train("s.img", "rx", out="rx.hadgeo")
    return folder


def _ones() -> str:
    return "{" + ", ".join(["1"] * _BANDS) + "}"


def _command(words: str) -> None:
    from click.testing import CliRunner

    from hadgeo.cli import cli

    done = CliRunner().invoke(cli, words.split())
    assert done.exit_code == 0, f"hadgeo {words}: {done.output}"


def _headers(home: Path) -> Iterator[Kind]:
    folder = _new(home, "envi")
    write_envi(
        folder / "x.img",
        _cube("i2"),
        header="x.hdr",
        interleave="bip",
        description="{made}",
        data_ignore_value="-9999",
        fwhm="{" + ", ".join(["9.5"] * _BANDS) + "}",
        wavelength_units="Nanometers",
        bbl=_ones(),
        band_names="{" + ", ".join(f"band {i}" for i in range(_BANDS)) + "}",
        reflectance_scale_factor="10000",
        default_bands="{1, 2, 3}",
        coordinate_system_string='{PROJCS["x",GEOGCS["y",DATUM["D_WGS_1984",SPHEROID["z",6378137.0,298.25]]]]}',
    )
    yield Kind(
        "envi header",
        folder,
        "x.hdr",
        mutants.anything,
        _on("x.img", _INFO, _DETECT, ("detect", "x.hdr", *_DETECT[2:])),
    )
    packed = _new(home, "packed")
    write_envi(packed / "x.img", _cube("i2"), header="x.hdr", compress=True)
    yield Kind("compressed envi", packed, "x.img", mutants.spoil_bytes, _on("x.img", _DETECT))


def _rasters(home: Path) -> Iterator[Kind]:
    cube = _cube("i2")
    shape = {"count": _BANDS, "height": _ROWS, "width": _COLS, "dtype": "int16", "crs": "EPSG:32633"}
    place = Affine(2, 0, 5e5, 0, -2, 4.5e6)
    tiff = _new(home, "tiff")
    with rasterio.open(tiff / "x.tif", "w", driver="GTiff", transform=place, compress="deflate", **shape) as file:
        file.write(cube)
        for band in range(_BANDS):
            file.update_tags(band + 1, wavelength=str(400 + 10 * band), wavelength_units="nm", fwhm="9")
    yield Kind("tiff", tiff, "x.tif", mutants.spoil_tags, _on("x.tif", _INFO, _DETECT))
    stac = _new(home, "stac")
    with rasterio.open(stac / "x.tif", "w", driver="GTiff", transform=place, **shape) as file:
        file.write(cube)
    bands = [{"name": f"b{i}", "center_wavelength": 0.4 + i / 100, "full_width_half_max": 0.01} for i in range(_BANDS)]
    item = {
        **{"type": "Feature", "stac_version": "1.1.0", "id": "x", "bbox": [0, 0, 1, 1], "links": []},
        "geometry": {"type": "Point", "coordinates": [0, 0]},
        "properties": {"eo:bands": bands, "datetime": "2026-01-01T00:00:00Z"},
        "assets": {
            "image": {"href": "x.tif", "type": "image/tiff", "bands": [{"eo:" + k: v for k, v in bands[0].items()}]}
        },
    }
    (stac / "x.stac.json").write_text(json.dumps(item))
    yield Kind("stac", stac, "x.stac.json", mutants.spoil_json, _on("x.tif", _INFO, _DETECT))
    esri = _new(home, "esri")
    (esri / "x.bil").write_bytes(cube.transpose(1, 0, 2).tobytes())
    header = {"NROWS": _ROWS, "NCOLS": _COLS, "NBANDS": _BANDS, "NBITS": 16, "PIXELTYPE": "SIGNEDINT", "LAYOUT": "BIL"}
    (esri / "x.hdr").write_text(
        "\n".join(f"{k} {v}" for k, v in header.items()) + "\nBYTEORDER I\nULXMAP 5\nULYMAP 6\n"
    )
    yield Kind("esri header", esri, "x.hdr", mutants.anything, _on("x.bil", _INFO))


def _matlab(home: Path) -> Iterator[Kind]:
    cube = _cube("i2").transpose(1, 2, 0)
    truth = np.zeros((_ROWS, _COLS))
    truth[8, 5] = 1
    five = _new(home, "mat5")
    content = {"data": cube, "map": truth, "wavelength": np.arange(400.0, 480.0, 10)[:_BANDS], "s": {"a": truth}}
    scipy.io.savemat(five / "x.mat", content, do_compression=True)
    _with_map(five)
    commands = (*_on("x.mat", _INFO, _DETECT), ("evaluate", "map.tif", "x.mat", "--bootstrap", "0"))
    yield Kind("matlab 5", five, "x.mat", mutants.spoil_matlab, commands)
    scores = _new(home, "mat_scores")
    scipy.io.savemat(scores / "x.mat", {"scores": cube[..., 0].astype("f8"), "map": truth})
    _with_map(scores)
    of_scores = (("evaluate", "x.mat", "truth.tif", "--bootstrap", "0"), ("threshold", "x.mat", "--pfa", "0.01"))
    yield Kind("matlab scores", scores, "x.mat", mutants.spoil_matlab, of_scores)
    import h5py

    seven = _new(home, "mat73")
    with h5py.File(seven / "x.mat", "w", userblock_size=512) as file:
        for name, value in {"data": cube, "map": truth, "s/wavelength": np.arange(400.0, 480.0, 10)[:_BANDS]}.items():
            file[name] = np.asarray(value).T
    with (seven / "x.mat").open("r+b") as opened:
        opened.write(b"MATLAB 7.3 MAT-file")
    _with_map(seven)
    yield Kind("matlab 7.3", seven, "x.mat", mutants.spoil_hdf5, commands)


def _with_map(folder: Path) -> None:
    for name in ("map.tif", "map.json", "truth.tif"):
        shutil.copy(folder.parent / "scene" / name, folder / name)


def _containers(home: Path) -> Iterator[Kind]:
    folder = _new(home, "netcdf4")
    arrays = coordinates()
    cube = np.random.default_rng(5).integers(0, 30_000, (4, 5, 6)).astype("i2")
    attributes = {"grid_mapping": "crs", "scale_factor": 1e-4, "add_offset": 0.0, "_FillValue": np.int16(-9999)}
    write_netcdf4(folder / "x.nc", {**arrays, "reflectance": (("wavelength", "y", "x"), cube, attributes)})
    yield Kind("netcdf 4", folder, "x.nc", mutants.spoil_hdf5, _on("x.nc", _INFO, _DETECT))
    classic = _new(home, "netcdf3")
    with scipy.io.netcdf_file(classic / "x.nc", "w") as file:
        for name, length in (("wavelength", 4), ("y", 5), ("x", 6)):
            file.createDimension(name, length)
            file.createVariable(name, "f8", (name,))[:] = 400 + 10 * np.arange(length)
        file.variables["wavelength"].units = "nm"
        variable = file.createVariable("r", "i2", ("wavelength", "y", "x"))
        variable[:] = cube
    yield Kind("netcdf 3", classic, "x.nc", mutants.spoil_bytes, _on("x.nc", _INFO, _DETECT))
    import zarr

    for version in (2, 3):
        store = _new(home, f"zarr{version}")
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            group = zarr.open_group(store / "x.zarr", mode="w", zarr_format=version)
            array = group.create_array("data", shape=cube.shape, chunks=(4, 3, 3), dtype="i2")
            array[:] = cube
            array.attrs["wavelength"] = [450, 550, 650, 750]
            array.attrs["_ARRAY_DIMENSIONS"] = ["band", "y", "x"]
        described = "x.zarr/data/.zarray" if version == 2 else "x.zarr/data/zarr.json"
        yield Kind(f"zarr {version}", store, described, mutants.spoil_json, _on("x.zarr", _INFO, _DETECT))


def _products(home: Path) -> Iterator[Kind]:
    for name in ("emit", "prisma", "pace", "neon", "tanager", "aviris"):
        file, make = makers.PRODUCTS[name]
        folder = _new(home, name)
        make(folder / file)
        yield Kind(name, folder, file, mutants.spoil_hdf5, _on(file, _INFO))
    folder = _new(home, "enmap")
    makers.enmap(folder / "x")
    described = next((folder / "x").glob("*.[xX][mM][lL]"))
    yield Kind("enmap", folder, f"x/{described.name}", mutants.anything, _on("x", _INFO))


def _geometry(home: Path) -> Iterator[Kind]:
    folder = _new(home, "geometry")
    line, sample = np.indices((_ROWS, _COLS))
    table = np.zeros((2, _ROWS + 4, _COLS + 4), "i4")
    table[:, 2 : 2 + _ROWS, 2 : 2 + _COLS] = sample + 1, line + 1
    write_envi(folder / "x_img", _cube("i2"), interleave="bil", map_info=None)
    write_envi(folder / "x_glt", table, interleave="bil", wavelength=None)
    x, y = 5e5 + 2.0 * sample, 4.5e6 - 2.0 * line
    write_envi(folder / "x_igm", np.stack([x, y, 0 * x]), interleave="bil", wavelength=None, map_info=None)
    by_table = ("detect", "x_img", "-d", "rx", "--glt", "x_glt", "-o", "out.tif", *_QUIET)
    by_places = ("detect", "x_img", "-d", "rx", "--igm", "x_igm", "-o", "out.tif", *_QUIET)
    yield Kind("glt header", folder, "x_glt.hdr", mutants.anything, (by_table,))
    yield Kind("glt", folder, "x_glt", mutants.spoil_bytes, (by_table,))
    yield Kind("igm header", folder, "x_igm.hdr", mutants.anything, (by_places,))
    yield Kind("igm", folder, "x_igm", mutants.spoil_bytes, (by_places,))


def _values(home: Path) -> Iterator[Kind]:
    folder = _new(home, "values")
    write_envi(folder / "x.img", _cube("f8"), header="x.hdr")
    detectors = ("rx", "local-rx", "kmeans", "crd", "subspace-rx", "cluster-rx", "block-rx", "isolation-forest", "utd")
    from hadgeo.detectors.registry import list_detectors

    known = [name for name in detectors if name in list_detectors()]
    commands = tuple(("detect", "x.img", "-d", name, "-o", "out.tif", *_QUIET) for name in known)
    spectrum = ("match", "x.img", "--spectrum", "t.txt", "-o", "out.tif", *_QUIET)
    (folder / "t.txt").write_text("".join(f"{400 + 10 * i} {0.1 + 0.05 * (i % 3)}\n" for i in range(_BANDS)))
    yield Kind("values", folder, "x.img", mutants.spoil_values, (*commands, *commands[:1] * 3, spectrum))


def _models(home: Path, scene: Path) -> Iterator[Kind]:
    trained = {
        "rx": {},
        "bs3lnet": {"steps": 2, "channels": 4, "blocks": 1, "crop": 8},
        "scoread": {"steps": 2},
        "fusion": {},
        "isolation-forest": {},
        "kmeans": {},
        "crd": {},
        "local-rx": {},
        "subspace-rx": {},
    }
    from hadgeo.detectors.registry import list_detectors

    for name, parameters in trained.items():
        if name not in list_detectors():
            continue
        folder = _new(home, f"model_{name}", scene)
        hadgeo.train(folder / "s.img", name, out=folder / "m.hadgeo", parameters=parameters)
        commands = (
            ("model", "info", "m.hadgeo"),
            ("model", "info", "m.hadgeo", "--json"),
            ("detect", "s.img", "--model", "m.hadgeo", "-o", "out.tif", *_QUIET),
        )
        yield Kind(f"model of {name}", folder, "m.hadgeo", mutants.spoil_model, commands)


def _vectors(home: Path, scene: Path) -> Iterator[Kind]:
    for name in ("p.geojson", "q.gpkg"):
        folder = _new(home, name.replace(".", "_"), scene)
        commands = _on(
            name,
            ("evaluate", "map.tif", "{}", "--bootstrap", "0"),
            ("detect", "s.img", "-d", "rx", "--mask", "{}", "-o", "out.tif", *_QUIET),
            ("detect", "s.img", "-d", "rx", "--exclude", "{}", "-o", "out.tif", *_QUIET),
            ("match", "s.img", "--like", "{}#1", "-o", "out.tif", *_QUIET),
            ("report", "s.img", "map.tif", "{}", "-o", "out.html", *_QUIET),
            ("quicklook", "s.img", "map.tif", "--polygons", "{}", "-o", "out.png", "--size", "100", *_QUIET),
        )
        spoil = mutants.spoil_json if name.endswith("json") else mutants.spoil_bytes
        yield Kind(name.partition(".")[2], folder, name, spoil, commands)
    folder = _new(home, "verdicts", scene)
    of_verdicts = (
        ("evaluate", "map.tif", "--verdicts", "{}"),
        ("threshold", "map.tif", "--verdicts", "{}", "--precision", "0.5", *_QUIET),
        ("match", "s.img", "--like", "{}", "-o", "out.tif", *_QUIET),
        ("detect", "s.img", "-d", "rx", "--exclude", "{}", "-o", "out.tif", *_QUIET),
    )
    yield Kind("verdicts csv", folder, "v.csv", mutants.anything, _on("v.csv", *of_verdicts[:2]))
    yield Kind("verdicts geojson", folder, "v.geojson", mutants.spoil_json, _on("v.geojson", *of_verdicts))


def _spectra(home: Path, scene: Path) -> Iterator[Kind]:
    folder = _new(home, "spectra", scene)
    rows = [f"{400 + 10 * i},{0.1 + 0.05 * (i % 3):.3f},{0.01 * i:.3f}" for i in range(_BANDS)]
    (folder / "t.csv").write_text("Wavelength (nm),grass,paint\n" + "\n".join(rows) + "\n")
    (folder / "t.txt").write_text("Name: a thing\nX Units: Wavelength (micrometers)\n" + "".join(
        f"{0.4 + 0.01 * i:.3f} {10 + i}\n" for i in range(_BANDS)
    ))  # fmt: skip
    values = np.random.default_rng(2).uniform(0, 1, (2, _BANDS)).astype("f4")
    (folder / "l.sli").write_bytes(values.tobytes())
    fields = {
        **{"samples": _BANDS, "lines": 2, "bands": 1, "header offset": 0, "file type": "ENVI Spectral Library"},
        **{"data type": 4, "interleave": "bsq", "byte order": 0, "wavelength units": "Nanometers"},
        "spectra names": "{one, two}",
        "wavelength": "{" + ", ".join(str(400 + 10 * i) for i in range(_BANDS)) + "}",
        "data ignore value": -1,
        "reflectance scale factor": 1,
    }
    (folder / "l.hdr").write_text("ENVI\n" + "".join(f"{k} = {v}\n" for k, v in fields.items()))

    def of(name: str) -> tuple[tuple[str, ...], ...]:
        return (("match", "s.img", "--spectrum", name, "-o", "out.tif", *_QUIET),)

    yield Kind("spectrum csv", folder, "t.csv", mutants.anything, of("t.csv#grass"))
    yield Kind("spectrum text", folder, "t.txt", mutants.anything, of("t.txt"))
    yield Kind("spectral library", folder, "l.hdr", mutants.anything, of("l.sli#two"))
    like = ("match", "s.img", "--like", "e.nc#1", "-o", "out.tif", *_QUIET)
    yield Kind("evidence", _new(home, "evidence", scene), "e.nc", mutants.spoil_bytes, (like,))


def _runs(home: Path, scene: Path) -> Iterator[Kind]:
    """What hadgeo writes down of its own runs, and takes up again."""
    folder = place_of(home)
    shutil.copytree(scene, folder)
    os.chdir(folder)
    _command("detect s.img -d rx -o map.tif -p shrinkage=0.1 --overwrite")
    folder = _stored(folder, home / "run")
    yield Kind(
        "manifest",
        folder,
        "map.json",
        mutants.spoil_json,
        (
            ("detect", "--from", "map.json", "-o", "out.tif", *_QUIET),
            ("detect", "s.img", "-d", "rx", "-o", "map.tif", "-p", "shrinkage=0.1", "--resume", *_QUIET),
            ("detect", "s.img", "-d", "rx", "-o", "map.tif", "--overwrite", *_QUIET),
            ("threshold", "map.tif", "--pfa", "0.01", "--scene", "s.img", "--evidence", "out.nc", *_QUIET),
            ("report", "s.img", "map.tif", "p.geojson", "-o", "out.html", *_QUIET),
        ),
    )
    yield from _unfinished(home, scene)
    yield Kind(
        "score map",
        _new(home, "map", scene),
        "map.tif",
        mutants.spoil_tags,
        (
            ("threshold", "map.tif", "--pfa", "0.01", "--polygons", "out.geojson", *_QUIET),
            ("evaluate", "map.tif", "truth.tif", "--bootstrap", "5"),
            ("quicklook", "s.img", "map.tif", "-o", "out.png", "--size", "100", *_QUIET),
        ),
    )
    yield Kind(
        "truth",
        _new(home, "truth", scene),
        "truth.tif",
        mutants.spoil_tags,
        (("evaluate", "map.tif", "truth.tif", "--bootstrap", "0"),),
    )
    yield from _batches(home, scene)
    job = _new(home, "job", scene)
    arguments = {
        "scenes": ["s.img"],
        "detector": "rx",
        "output": "out.tif",
        "parameter": {"shrinkage": 0.1},
        "window": 8,
    }
    (job / "job.json").write_text(json.dumps({"protocol": 1, "command": "detect", "arguments": arguments}))
    yield Kind("worker job", job, "job.json", mutants.spoil_json, ((JOB, "job.json"),))


def _unfinished(home: Path, scene: Path) -> Iterator[Kind]:
    folder = place_of(home)
    shutil.copytree(scene, folder)
    os.chdir(folder)

    class Stopped(Exception):
        pass

    def stop(_: object) -> None:
        raise Stopped

    with suppress(Stopped):
        hadgeo.detect("s.img", "rx", out="out.tif", window=8, then=stop)
    journal = next(folder.rglob(JOURNAL))
    # Some windows are left to do.
    lines = journal.read_text().splitlines(keepends=True)
    journal.write_text("".join(lines[:3]))
    (folder / "out.tif").unlink(missing_ok=True)
    told = str(journal.relative_to(folder))
    folder = _stored(folder, home / "unfinished")
    commands = tuple(
        ("detect", "s.img", "-d", "rx", "-o", "out.tif", "--window", "8", how, *_QUIET)
        for how in ("--resume", "--overwrite")
    )
    yield Kind("journal", folder, told, mutants.spoil_json_line, commands)


def _batches(home: Path, scene: Path) -> Iterator[Kind]:
    table = _new(home, "table", scene)
    for name in ("t.img", "t.hdr"):
        shutil.copy(scene / name.replace("t.", "s."), table / name)
    (table / "t.csv").write_text(
        "scene,output,detector,bands,p.shrinkage,glt\ns.img,a.tif,,,,\nt.img,b.tif,rx,400-460,0.1,\n"
    )
    of_table = ("batch", "--table", "t.csv", "-d", "rx", "-o", "maps", "-q")
    yield Kind("table of lines", table, "t.csv", mutants.anything, (of_table,))
    batch = place_of(home)
    shutil.copytree(scene, batch)
    os.chdir(batch)
    again = ("batch", "s.img", "-d", "rx", "-o", "maps", "-q")
    _command(" ".join(again))
    record = next(path for path in (batch / "maps").glob("*.json") if "batch" in path.name)
    told = str(record.relative_to(batch))
    yield Kind(
        "batch record",
        _stored(batch, home / "batch"),
        told,
        mutants.spoil_json,
        (
            again,
            (*again, "--overwrite"),
            (*again, "--pfa", "0.01", "--polygons", "out.geojson"),
        ),
    )
