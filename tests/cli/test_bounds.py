"""Inputs that promise more than they hold, or hold what a terminal or a spreadsheet would obey."""

from __future__ import annotations

import csv
import json
import struct
import time
import zlib
from pathlib import Path

import h5py
import numpy as np
import pytest
from click.testing import CliRunner, Result
from safetensors import safe_open
from safetensors.torch import save_file

import hadgeo
from hadgeo.cli import cli
from hadgeo.compute.memory import granted, most_held
from hadgeo.decisions.review import Review
from hadgeo.decisions.verdicts import Verdict
from hadgeo.errors import CubeError
from hadgeo.files import guarded, unguarded
from hadgeo.formats import Reading, open_source
from hadgeo.formats.envi_header import parse_header
from hadgeo.run.model_file import Model, _digest, _Header, load_model, to_bytes
from hadgeo.worker import MOST_CHARACTERS, JobError, read_job
from tests.formats.envi_files import numbered, write_envi

#: Far more than anything here takes, on whatever machine beside whatever else.
SECONDS = 20


def run(*args: str) -> Result:
    return CliRunner().invoke(cli, args)


def assert_one_line(result: Result, *words: str) -> None:
    assert result.exit_code == 2, result.output
    lines = [line for line in result.stderr.splitlines() if line.startswith("hadgeo: error: ")]
    assert len(lines) == 1
    assert len(lines[0]) < 2500
    assert all(word in lines[0] for word in words), lines[0]


@pytest.fixture
def scene(tmp_path: Path) -> Path:
    draw = np.random.default_rng(1)
    return write_envi(tmp_path / "s.img", draw.integers(0, 999, (4, 12, 9)).astype("i2"), header="s.hdr")


@pytest.mark.parametrize(
    ("lines", "refused"),
    [
        ("description = {x, {y}\n" + "x, {y}\n" * 200_000 + "}\n", False),
        ("; = {\n" * 300_000, True),
        ("k{} = v\n", True),
    ],
)
def test_time_for_a_header_grows_as_the_header_does(lines: str, refused: bool, scene: Path) -> None:
    header = scene.with_suffix(".hdr")
    more = "".join(lines.format(number) for number in range(100_000)) if "{}" in lines else lines
    header.write_text(header.read_text() + more)
    start = time.process_time()
    result = run("info", str(scene), "-d", "rx")
    assert time.process_time() - start < SECONDS
    if refused:
        assert_one_line(result, "s.hdr: more than 2000 keys")
    else:
        assert result.exit_code == 0, result.output


def test_a_header_of_as_many_keys_as_bands_is_read() -> None:
    text = "ENVI\nsamples = 1\nlines = 1\nbands = 1\n" + "".join(f"band {i} gain = 1\n" for i in range(1000))
    assert len(parse_header(text, "x.hdr").fields) == 1003


def pack_zeros(path: Path, shape: tuple[int, int, int]) -> Path:
    """A MATLAB file of version 5 whose only array is 0 throughout."""

    def element(kind: int, content: bytes) -> bytes:
        return struct.pack("<II", kind, len(content)) + content + bytes(-len(content) % 8)

    nbytes = int(np.prod(shape)) * 8
    head = element(6, struct.pack("<II", 6, 0)) + element(5, struct.pack("<3i", *shape)) + element(1, b"data")
    packer = zlib.compressobj(9)
    packed = [packer.compress(struct.pack("<II", 14, len(head) + 8 + nbytes) + head + struct.pack("<II", 9, nbytes))]
    packed += [packer.compress(bytes(2**20)) for _ in range(-(-nbytes // 2**20))]
    content = b"".join([*packed, packer.flush()])
    start = b"MATLAB 5.0 MAT-file".ljust(124) + struct.pack("<H", 0x100) + b"IM"
    path.write_bytes(start + struct.pack("<II", 15, len(content)) + content)
    return path


def test_a_packed_matlab_file_is_measured_before_it_is_unpacked(tmp_path: Path) -> None:
    bomb = pack_zeros(tmp_path / "bomb.mat", (400, 400, 300))
    assert bomb.stat().st_size < 10**6
    assert_one_line(run("detect", str(bomb), "-d", "rx", "-o", str(tmp_path / "o.tif")), "bomb.mat", "no measurement")


def test_a_matlab_file_that_exceeds_the_memory_is_refused_before_it_is_loaded(tmp_path: Path) -> None:
    large = pack_zeros(tmp_path / "large.mat", (200, 200, 500))
    told = run("detect", str(large), "-d", "rx", "-o", str(tmp_path / "o.tif"), "--memory", "800MB")
    assert_one_line(told, "large.mat", "version 7.3", "--memory")


def test_a_budget_holds_while_files_are_opened() -> None:
    whole = most_held()
    with granted(10**9):
        assert most_held() == 300_000_000
    assert most_held() == whole


@pytest.mark.parametrize("kind", ["cube", "list", "chunks"])
def test_what_a_file_promises_and_does_not_hold_is_refused(kind: str, tmp_path: Path) -> None:
    with h5py.File(tmp_path / "x.h5", "w") as file:
        shape = (2**31, 3, 4) if kind == "cube" else (5, 3, 4)
        file.create_dataset("data", shape=shape, dtype="f4", chunks=(1, 3, 4))
        most, chunk = (2**40, 2**20) if kind == "list" else (2**17, 1) if kind == "chunks" else (5, 5)
        file.create_dataset("wavelength", shape=(most,), dtype="f8", chunks=(chunk,))
    start = time.process_time()
    with pytest.raises(CubeError, match=r"holds 0 bytes|no list or layer|too many to be read"):
        open_source(tmp_path / "x.h5", reading=Reading(band_axis=0))
    assert time.process_time() - start < SECONDS


def rewritten(model: Path, **changes: object) -> Path:
    """A model with a description that says something else, and the hash that belongs to it."""
    with safe_open(model, framework="pt") as opened:
        header = json.loads(opened.metadata()["hadgeo"]) | changes
        tensors = {name: opened.get_tensor(name) for name in opened.keys()}  # noqa: SIM118 - it is no mapping
    header["hash"] = _digest(_Header.model_validate({**header, "hash": ""}), tensors)
    save_file(tensors, model, metadata={"hadgeo": json.dumps(header)})
    return model


def test_names_in_a_file_never_control_a_terminal(scene: Path, tmp_path: Path) -> None:
    hadgeo.train(scene, "rx", out=tmp_path / "m.hadgeo")
    model = rewritten(tmp_path / "m.hadgeo", scenes=["\x1b]0;title\x07 \x9b31m\u202e"], hadgeo_version="\x00\x1b[2J")
    told = run("model", "info", str(model))
    assert told.exit_code == 0
    assert all(c.isprintable() for c in told.output.replace("\n", "")), told.output
    assert r"\x1b]0;title\x07" in told.output


def test_a_model_says_nothing_that_json_cannot(scene: Path, tmp_path: Path) -> None:
    hadgeo.train(scene, "rx", out=tmp_path / "m.hadgeo")
    model = load_model(tmp_path / "m.hadgeo")
    unknown = model.spectrum.model_copy(update={"wavelength": (400.0, float("nan"), 420.0, 430.0)})
    (tmp_path / "n.hadgeo").write_bytes(to_bytes(Model(model.detector, unknown, "int16", 1.0, ("s.img",))))
    told = run("model", "info", str(tmp_path / "n.hadgeo"), "--json")
    assert json.loads(told.output)["wavelength_nm"] == [400.0, None, 420.0, 430.0]


@pytest.mark.parametrize(
    ("cell", "safe"),
    [
        *(("=1+1.img", "'=1+1.img"), ("@SUM(A1)", "'@SUM(A1)"), ("+cmd|' /C calc'!A0", "'+cmd|' /C calc'!A0")),
        *(("-2+3", "'-2+3"), ("\t=1", "'\t=1"), ("  =1", "'  =1"), ("＝1+1", "'＝1+1")),
        *(
            ("-12.5", "-12.5"),
            ("+3e-5", "+3e-5"),
            ("line.img", "line.img"),
            ("", ""),
            ("'quoted'", "'quoted'"),
            (-3, -3),
        ),
    ],
)
def test_no_spreadsheet_computes_a_cell(cell: object, safe: object) -> None:
    assert guarded(cell) == safe
    assert not isinstance(safe, str) or unguarded(safe) == cell


def test_a_note_that_looks_like_a_formula_survives_its_table(tmp_path: Path) -> None:
    Review({1: Verdict("accepted", note="=HYPERLINK(A1)", reviewer="-me")}).write(tmp_path / "v.csv")
    with (tmp_path / "v.csv").open(newline="") as file:
        (row,) = csv.DictReader(file)
    assert (row["note"], row["reviewer"]) == ("'=HYPERLINK(A1)", "'-me")
    back = Review.read(tmp_path / "v.csv").verdicts[1]
    assert (back.note, back.reviewer) == ("=HYPERLINK(A1)", "-me")


def test_the_summary_of_a_batch_holds_no_formula(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    write_envi(tmp_path / "=1+1.img", numbered(4, 12, 9), header="=1+1.hdr")
    assert run("batch", "=1+1.img", "-d", "rx", "-o", "maps", "-q").exit_code in (0, 1)
    with (tmp_path / "maps" / "summary.csv").open(newline="") as file:
        (row,) = csv.DictReader(file)
    assert row["scene"] == "'=1+1.img"


@pytest.mark.parametrize(
    "options",
    [
        {"memory": "lots"},
        {"memory": [1, 2]},
        {"window": -3},
        {"bands": {"a": 1}},
        {"parameters": {"shrinkage": "9" * 5000}},
        {"parameters": ["x"]},
        {"extent": [1, 2]},
        {"band_axis": 7},
        {"fill": "all"},
        {"device": "\x1b[2J"},
        {"quality": ["x"]},
        {"scenes": [{"x": None}]},
        {"pfa": "nan"},
    ],
)
def test_a_manifest_is_held_to_what_the_command_line_is(
    options: dict[str, object], scene: Path, tmp_path: Path
) -> None:
    assert run("detect", str(scene), "-d", "rx", "-o", str(tmp_path / "m.tif"), "-q").exit_code == 0
    manifest = json.loads((tmp_path / "m.json").read_text())
    manifest["options"] |= options
    (tmp_path / "m.json").write_text(json.dumps(manifest))
    told = run("detect", "--from", str(tmp_path / "m.json"), "-o", str(tmp_path / "n.tif"), "-q")
    assert_one_line(told)
    assert not (tmp_path / "n.tif").exists()


def test_a_job_is_read_up_to_a_bound(tmp_path: Path) -> None:
    (tmp_path / "job.json").write_text('{"protocol": 1, "command": "' + "x" * MOST_CHARACTERS + '"}')
    with pytest.raises(JobError, match="the job has more than 1048576 characters"):
        read_job(tmp_path / "job.json")
    with pytest.raises(JobError, match="cannot be read"):
        read_job(tmp_path / "missing.json")


def test_a_place_that_is_not_finite_is_refused(tmp_path: Path) -> None:
    (tmp_path / "x.bil").write_bytes(bytes(2 * 4 * 6 * 5))
    (tmp_path / "x.hdr").write_text(
        "NROWS 6\nNCOLS 5\nNBANDS 4\nNBITS 16\nLAYOUT BIL\nULXMAP 5\nULYMAP -inf\nXDIM 1\nYDIM 1\n"
    )
    for command in ("info", "detect"):
        assert_one_line(run(command, str(tmp_path / "x.bil")), "x.bil", "is not finite", "correct its georeference")


def test_a_name_of_thousands_of_characters_is_shown_in_part(scene: Path) -> None:
    tmp_path, table = scene.parent, scene.with_name("t.csv")
    table.write_text(f"scene,output\ns.img,a.tif\n{'x' * 5000},b.tif\n")
    result = run("batch", "--table", str(table), "-d", "rx", "-o", str(tmp_path / "maps"), "-q")
    assert result.exit_code == 1
    assert "no such file" in result.output
    assert max(map(len, result.output.splitlines())) < 2500


def test_a_description_of_a_model_that_is_no_text_is_damage(scene: Path, tmp_path: Path) -> None:
    hadgeo.train(scene, "rx", out=tmp_path / "m.hadgeo")
    with safe_open(tmp_path / "m.hadgeo", framework="pt") as opened:
        header = json.loads(opened.metadata()["hadgeo"]) | {"scenes": ["\ud800"]}
        tensors = {name: opened.get_tensor(name) for name in opened.keys()}  # noqa: SIM118 - it is no mapping
    save_file(tensors, tmp_path / "m.hadgeo", metadata={"hadgeo": json.dumps(header)})
    for words in (("model", "info"), ("detect", str(scene), "--model")):
        assert_one_line(run(*words, str(tmp_path / "m.hadgeo")), "m.hadgeo", "damaged")


# GDAL warns of the ring as well, from where no warning can be an error.
@pytest.mark.filterwarnings("ignore")
def test_a_ring_that_is_not_closed_is_damage(scene: Path, tmp_path: Path) -> None:
    hadgeo.detect(scene, "rx", out=tmp_path / "map.tif")
    ring = [[0, 0], [4, 0], [4, -4], [0, -4]]
    polygon = {"type": "Feature", "properties": {"id": 1}, "geometry": {"type": "Polygon", "coordinates": [ring]}}
    layer = tmp_path / "p.geojson"
    layer.write_text(json.dumps({"type": "FeatureCollection", "features": [polygon]}))
    words = (
        "quicklook",
        str(scene),
        str(tmp_path / "map.tif"),
        "--polygons",
        str(layer),
        "-o",
        str(tmp_path / "q.png"),
    )
    assert_one_line(run(*words), "p.geojson", "geometries are damaged")
