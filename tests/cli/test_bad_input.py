"""What the command line makes of bad input: one clear line, the right exit status, and a folder as it was before."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import rasterio
import rasterio.shutil
from affine import Affine
from click.testing import CliRunner, Result
from rasterio.errors import NotGeoreferencedWarning

import hadgeo
from hadgeo.cli import cli
from hadgeo.grid import Grid
from hadgeo.maps.writer import ScoreWriter
from hadgeo.windows import tile
from tests.cli.advice import unknown_options
from tests.formats.envi_files import write_envi
from tests.support import background

ROOT = Path(__file__).parents[2]

#: Of the scenes written here.
BANDS = 8
WAVELENGTHS = {"wavelength": ", ".join(str(400 + 10 * i) for i in range(BANDS)), "wavelength_units": "nm"}


def write_tiff(path: Path, cube: npt.NDArray[Any], tags: dict[str, str] | None = None, **profile: Any) -> Path:
    """Write a georeferenced GeoTIFF."""
    bands, rows, cols = cube.shape
    place = {"crs": "EPSG:32633", "transform": Affine(2, 0, 5e5, 0, -2, 4.5e6)}
    shape = {"count": bands, "height": rows, "width": cols, "dtype": cube.dtype.name}
    with rasterio.open(path, "w", driver="GTiff", **shape, **place, **profile) as dataset:
        # Before the samples: the directory then stands in front of them, and a file that is cut short still opens.
        dataset.update_tags(**(WAVELENGTHS if tags is None else tags))
        dataset.write(cube)
    return path


def cut(source: Path, target: Path, part: float) -> None:
    """Copy the beginning of a file."""
    data = source.read_bytes()
    target.write_bytes(data[: int(len(data) * part)])


@pytest.fixture(scope="session")
def scenes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with one good scene and every bad one."""
    folder = tmp_path_factory.mktemp("scenes")
    good = background((BANDS, 30, 20))
    write_tiff(folder / "good.tif", good)
    (folder / "link.tif").symlink_to("good.tif")
    (folder / "dangling.tif").symlink_to("gone.tif")
    (folder / "folder").mkdir()
    (folder / "notes.txt").write_text("no raster\nat all\n")
    (folder / "nothing.tif").write_bytes(b"")
    (folder / "old.tif.part").write_bytes((folder / "good.tif").read_bytes())
    (folder / "existing.tif").write_bytes(b"somebody's work")
    os.mkfifo(folder / "pipe")

    write_envi(folder / "pair.img", good, header="pair.hdr")
    write_envi(folder / "headless.img", good)
    (folder / "headless.img.hdr").unlink()
    write_envi(folder / "lone.img", good, header="lone.hdr")
    (folder / "lone.img").unlink()
    write_envi(folder / "short.img", good)
    cut(folder / "short.img", folder / "short.img", 0.9)
    write_envi(folder / "bad_gains.img", good, data_gain_values="{1, 2}")

    large = write_tiff(folder / "large.tif", background((BANDS, 300, 200)), compress="lzw")
    cut(large, folder / "cut.tif", 0.5)
    rasterio.shutil.copy(large, folder / "cog.tif", driver="COG")
    cut(folder / "cog.tif", folder / "cut_cog.tif", 0.75)
    cut(folder / "good.tif", folder / "headonly.tif", 0.01)

    write_tiff(folder / "one_band.tif", good[:1], tags={})
    write_tiff(folder / "two_bands.tif", good[:2], tags={})
    write_tiff(folder / "pixel.tif", good[:, :1, :1])
    write_tiff(folder / "few.tif", good[:, :2, :3])
    write_tiff(folder / "equal.tif", np.full_like(good, 7))
    write_tiff(folder / "empty.tif", np.full_like(good, -1), nodata=-1)
    odd = good.copy()
    odd[2, 3, 4], odd[3, 5, 6], odd[:, 7, 8] = np.nan, np.inf, -np.inf
    write_tiff(folder / "not_finite.tif", odd)
    return folder


@pytest.fixture
def here(scenes: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of the scenes, as the working directory."""
    folder = tmp_path / "here"
    folder.mkdir()
    for item in scenes.iterdir():
        if item.is_symlink():
            (folder / item.name).symlink_to(item.readlink())
        elif item.is_dir():
            (folder / item.name).mkdir()
        elif item.is_fifo():
            os.mkfifo(folder / item.name)
        else:
            (folder / item.name).write_bytes(item.read_bytes())
    monkeypatch.chdir(folder)
    return folder


def listing(folder: Path) -> dict[str, bytes | str]:
    """Names and content of all that is in a folder."""
    found: dict[str, bytes | str] = {}
    for path in sorted(folder.rglob("*")):
        if path.is_symlink():
            found[str(path)] = f"-> {path.readlink()}"
        else:
            found[str(path)] = path.read_bytes() if path.is_file() else "no file"
    return found


def run(*args: str) -> Result:
    return CliRunner().invoke(cli, args)


def assert_one_line(stderr: str, *words: str) -> None:
    """One error, said in one line that holds the words; warnings may precede it."""
    lines = [line for line in stderr.splitlines() if not line.startswith("hadgeo: warning: ")]
    assert len(lines) == 1, stderr
    assert lines[0].startswith("hadgeo: error: ")
    assert "Traceback" not in stderr
    for word in words:
        assert word in lines[0]


@dataclass(frozen=True)
class Bad:
    """One row: arguments, words that the message must hold, and the exit status."""

    args: str
    words: tuple[str, ...]
    code: int = 2

    def __str__(self) -> str:
        return self.args


BAD_SCENES = [
    Bad("missing.tif", ("missing.tif", "no such file", "check the path")),
    Bad("dangling.tif", ("dangling.tif", "restore the file it points to")),
    Bad("folder", ("folder", "give a file")),
    Bad("notes.txt", ("notes.txt", "not a raster", "is it a cube")),
    Bad("nothing.tif", ("nothing.tif", "copied completely")),
    Bad("lone.hdr", ("lone.hdr", "data file is missing", "next to it")),
    Bad("headless.img", ("headless.img", "header is missing", "put headless.img.hdr")),
    Bad("short.img", ("short.img", "cut short", "copy it again")),
    Bad("headonly.tif", ("headonly.tif", "copied completely")),
    # Its directory is whole: what is missing shows when it is read.
    Bad("cut.tif", ("cut.tif", "cut short", "copy it again")),
    Bad("cut_cog.tif", ("cut_cog.tif", "cut short", "copy it again")),
    Bad("one_band.tif", ("one_band.tif", "1 of 1 bands", "at least 2", "--bands")),
    Bad("empty.tif", ("empty.tif", "8 wholly nodata", "data in it?")),
    Bad("pixel.tif", ("pixel.tif", "8 constant", "--bands")),
    Bad("pixel.tif --bands all", ("pixel.tif", "1 valid pixels", "give a larger scene")),
    Bad("equal.tif", ("equal.tif", "8 constant", "--bands")),
    Bad("equal.tif --bands all", ("equal.tif", "pixels are equal", "check the input")),
    Bad("equal.tif --bands all -d bs3lnet -p steps=2", ("equal.tif", "pixels are equal", "check the input")),
    Bad("bad_gains.img", ("bad_gains.img.hdr", "2 values of data gain values for 8 bands", "correct")),
    Bad("good.tif --bands 2000-2400", ("good.tif", "selects no band", "400 to 470 nm")),
    Bad("good.tif --bands 0-3", ("good.tif", "selects no band", "400 to 470 nm")),
    Bad("good.tif --bands 3", ("good.tif", "7 not in --bands", "at least 2")),
    Bad("good.tif --bands 5-", ("good.tif", "'5-' is not a band or a range", "write 1-60,65")),
    Bad("good.tif --bands red,blue", ("good.tif", "'red' is not a band or a range", "write 1-60,65")),
    Bad("good.tif --bands 460-400", ("good.tif", "runs backwards", "write 400-460")),
    Bad("two_bands.tif --bands 10-20", ("two_bands.tif", "no wavelengths", "band numbers from 1 to 2")),
    Bad("good.tif --device gpu", ("--device gpu", "write auto, cpu")),
    Bad("good.tif --device cuda:99", ("--device cuda:99", "try --device auto")),
]

BAD_PARAMETERS = [
    Bad("-d xr", ("'xr'", "did you mean 'rx'?")),
    Bad("-d nothinglikeit", ("'nothinglikeit'", "available: block_rx, bs3lnet, cluster_rx, ")),
    Bad("-d bs3lnet -p stps=3", ("'stps'", "did you mean 'steps'?", "hadgeo detectors bs3lnet")),
    Bad("-d bs3lnet -p steps=abc", ("steps must be a whole number, at least 1 and at most 1000000", "not 'abc'")),
    Bad("-d bs3lnet -p steps=0", ("steps must be a whole number, at least 1", "not '0'")),
    Bad("-d bs3lnet -p steps=", ("steps must be a whole number", "not ''")),
    Bad("-d bs3lnet -p mask_ratio=0", ("mask_ratio must be a number, above 0 and at most 0.5", "not '0'")),
    Bad("-d bs3lnet -p mask_ratio=nan", ("mask_ratio must be a number", "not 'nan'")),
    Bad("-d bs3lnet -p statistic=best", ("statistic must be", "or mse", "not 'best'")),
    Bad("-d bs3lnet -p inner_window=2", ("inner_window must be odd", "inner_window=2")),
    Bad("-d bs3lnet -p neighbour_window=4", ("neighbour_window must be odd", "neighbour_window=4")),
    Bad("-d bs3lnet -p inner_window=7", ("neighbour_window (5) must be larger than inner_window (7)",)),
    Bad("-d rx -p shrinkage=2", ("shrinkage must be a number, at least 0 and at most 1", "not '2'")),
    Bad("-d rx -p sample=1", ("sample must be a whole number, at least 2", "not '1'")),
]

BAD_OUTPUTS = [
    Bad("good.tif -o existing.tif", ("existing.tif exists", "--overwrite", "-o")),
    Bad("good.tif -o dangling.tif", ("dangling.tif exists", "--overwrite")),
    Bad("good.tif -o good.tif --overwrite", ("good.tif is the scene itself", "another name")),
    Bad("good.tif -o ./folder/../good.tif --overwrite", ("good.tif is the scene itself", "another name")),
    Bad("good.tif -o link.tif --overwrite", ("link.tif is the scene itself", "another name")),
    Bad("link.tif -o good.tif --overwrite", ("good.tif is the scene itself", "another name")),
    Bad("pair.hdr -o pair.img --overwrite", ("pair.img is the scene itself", "another name")),
    Bad("pair.img -o pair.hdr --overwrite", ("pair.hdr is the scene itself", "another name")),
    Bad("old.tif.part -o old.tif", ("old.tif.part is the scene itself", "another name")),
    Bad("GTIFF_DIR:1:good.tif -o good.tif --overwrite", ("good.tif is the scene itself", "another name")),
    Bad("good.tif -o nowhere/map.tif", ("nowhere/map.tif", "does not exist", "create it first")),
    Bad("good.tif -o existing.tif/map.tif", ("existing.tif/map.tif", "is a file", "-o to write elsewhere")),
    Bad("good.tif -o folder", ("folder is a folder", "folder/scores.tif")),
    # As root, a rename would put the map in place of /dev/null itself.
    Bad("good.tif -o pipe --overwrite", ("pipe is a device or a pipe", "-o to write elsewhere")),
    Bad(f"good.tif -o {'x' * 251}", ("the name is too long", "a shorter one")),
]

BAD_USAGE = [
    Bad("detect", ("no SCENE", "--from")),
    Bad("detect good.tif --nonsense", ("No such option '--nonsense'", "hadgeo detect --help")),
    Bad("detect good.tif -p steps", ("'steps' is not of the form KEY=VALUE", "steps=300")),
    Bad("detect good.tif --memory lots", ("--memory", "'lots' is not a size", "2GB or 512MiB")),
    Bad("detect good.tif --memory=", ("--memory", "'' is not a size", "2GB or 512MiB")),
    Bad("detect good.tif --memory=GB", ("--memory", "'GB' is not a size", "2GB or 512MiB")),
    Bad("detect good.tif --memory 1e400GB", ("--memory", "'1e400GB' is not a size", "2GB or 512MiB")),
    Bad("detect good.tif --memory=-5GB", ("--memory", "too small", "1MiB")),
    Bad("detect good.tif --memory 1kB", ("--memory", "too small", "1MiB")),
    Bad("detect good.tif --window 0", ("--window", "0 is not in the range")),
    Bad("detect good.tif --seed -1", ("--seed", "-1 is not in the range")),
    Bad("detect good.tif --progress dots", ("--progress", "'dots' is not one of", "'bar'")),
    Bad("nonsense", ("No such command 'nonsense'", "hadgeo --help")),
    Bad("--nonsense", ("No such option '--nonsense'", "hadgeo --help")),
    Bad("detectors xr", ("'xr'", "did you mean 'rx'?")),
]


def check(bad: Bad, here: Path, *args: str) -> None:
    before = listing(here)
    result = run(*args)
    assert result.exit_code == bad.code, result.output
    assert_one_line(result.stderr, *bad.words)
    assert not unknown_options(result.stderr, next(word for word in args if word != "--debug"))
    if args[0] != "info":  # which shows what it does know
        assert not result.stdout
    assert listing(here) == before


@pytest.mark.parametrize("bad", BAD_SCENES, ids=str)
@pytest.mark.parametrize("command", ["detect -q", "info"])
def test_a_bad_scene_is_refused(command: str, bad: Bad, here: Path) -> None:
    check(bad, here, *command.split(), "-d", "rx", *bad.args.split())


@pytest.mark.parametrize("bad", BAD_PARAMETERS, ids=str)
@pytest.mark.parametrize("command", ["detect", "info"])
def test_a_bad_parameter_is_named_with_its_value_and_what_is_allowed(command: str, bad: Bad, here: Path) -> None:
    check(bad, here, command, "good.tif", *bad.args.split())


@pytest.mark.parametrize("bad", BAD_OUTPUTS, ids=lambda bad: str(bad)[:60])
def test_a_bad_output_is_refused_before_anything_is_computed(bad: Bad, here: Path) -> None:
    check(bad, here, "detect", "-d", "rx", *bad.args.split())


@pytest.mark.parametrize("bad", BAD_USAGE, ids=str)
def test_a_mistake_in_the_command_line_is_one_line(bad: Bad, here: Path) -> None:
    check(bad, here, *bad.args.split())


@pytest.mark.parametrize(
    ("args", "words"),
    [
        (["detect", ""], ["path of the cube is empty", "give a file"]),
        (["info", ""], ["path of the cube is empty", "give a file"]),
        (["detect", "good.tif\nother.tif"], [r"good.tif\nother.tif: no such file"]),
        (["detect", "two  blanks.tif"], ["two  blanks.tif: no such file"]),
        (["detect", "bell\a\x1b[31m.tif"], [r"bell\x07\x1b[31m.tif: no such file"]),
        (["detect", "good.tif", "--bands", ""], ["good.tif", "'' is not a band or a range", "write 1-60,65"]),
        (["detect", "good.tif", "-o", ""], ["output's name is empty", "-o"]),
        (["detect", "odd\udcff.tif"], [r"odd\udcff.tif: the name is not UTF-8", "rename"]),
        (["detect", "good.tif", "-o", "odd\udcff.tif"], [r"odd\udcff.tif is not a valid file name", "-o"]),
        (["detect", "good.tif", "-o", "a\0b"], [r"a\x00b is not a valid file name", "-o"]),
    ],
)
def test_odd_names_are_shown_in_one_line(args: list[str], words: list[str], here: Path) -> None:
    check(Bad("", tuple(words)), here, *args)


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere names of files are text")
@pytest.mark.parametrize("args", ["evaluate {} good.tif", "threshold {} --top 3", "detect good.tif --mask {}"])
def test_a_name_that_is_not_utf8_is_refused_wherever_it_stands(args: str, here: Path) -> None:
    name = "odd\udcff.tif"
    shutil.copy(here / "good.tif", here / name)
    check(Bad("", (r"odd\udcff.tif: ", "name is not UTF-8", "rename")), here, *args.format(name).split())


def test_a_folder_that_cannot_be_written_into_is_refused(small_disk: Path, here: Path) -> None:
    mount("-o", "remount,ro", str(small_disk))
    check(
        Bad("", ("no permission", "-o to write elsewhere")), here, "detect", "good.tif", "-o", str(small_disk / "m.tif")
    )


def test_cuda_is_refused_where_there_is_none(here: Path) -> None:
    import torch

    if torch.cuda.is_available():
        pytest.skip("there is a CUDA device")
    check(
        Bad("", ("--device cuda", "0 usable CUDA devices", "try --device auto")),
        here,
        "info",
        "good.tif",
        "--device",
        "cuda",
    )


def test_pixels_that_are_not_finite_are_left_out_and_said(here: Path) -> None:
    result = run("detect", "not_finite.tif", "-d", "rx", "--progress", "none", "-o", "map.tif")
    assert result.exit_code == 0, result.output
    assert "3 pixels are nodata or not finite, and get no score" in result.stderr
    with rasterio.open("map.tif") as dataset:
        scores = dataset.read(1)
    missing = np.zeros(scores.shape, dtype=bool)
    missing[[3, 5, 7], [4, 6, 8]] = True
    np.testing.assert_array_equal(np.isnan(scores), missing)


def test_fewer_pixels_than_bands_are_shrunk_and_said(here: Path) -> None:
    result = run("detect", "few.tif", "-d", "rx", "--progress", "none")
    assert result.exit_code == 0, result.output
    assert "6 valid pixels do not determine the covariance of 8 bands; shrunk by 0." in result.stderr


def test_info_finds_data_to_try_on_where_the_middle_has_none(here: Path) -> None:
    cube = background((BANDS, 300, 300))
    cube[:, 50:250, 50:250] = np.nan
    write_tiff(Path("hole.tif"), cube)
    result = run("info", "hole.tif", "-d", "rx", "--json")
    assert result.exit_code == 0, result.output
    assert json.loads(result.stdout)["detect"]["seconds"] > 0


@pytest.mark.parametrize("name", ["map", "map.v2", "two  blanks.tif"])
def test_any_name_of_an_output_becomes_a_geotiff(name: str, here: Path) -> None:
    assert run("detect", "good.tif", "-d", "rx", "-q", "-o", name).exit_code == 0
    with rasterio.open(name) as dataset:
        assert dataset.driver == "GTiff"


def test_a_window_larger_than_the_scene_is_the_scene(here: Path) -> None:
    for name, options in (("a.tif", ["--window", "5000"]), ("b.tif", [])):
        assert run("detect", "good.tif", "-d", "rx", "-q", "-o", name, *options).exit_code == 0
    assert Path("a.tif").read_bytes() == Path("b.tif").read_bytes()


# From here on real processes: signals, and disks that are full.


def start(*args: str) -> subprocess.Popen[str]:
    """Start a detection that tells its progress in JSON lines."""
    env = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-m", "hadgeo", "detect", *args, "--progress", "json"]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=env)


def wait_for(process: subprocess.Popen[str], stage: str, done: int = 0) -> None:
    """Read a process's progress until a stage is that far."""
    assert process.stdout is not None
    for line in process.stdout:
        told = json.loads(line)
        if told.get("stage") == stage and told["done"] >= done:
            return
    pytest.fail(f"{stage} never came: {process.communicate()[1]}")


LONG_FIT = ("-d", "bs3lnet", "-p", "steps=100000")

#: Some seconds in one window: nothing but the end of the process can stop that arithmetic.
LONG_WINDOW = ("-d", "bs3lnet", "-p", "steps=1", "-p", "channels=256", "-p", "statistic=mse")


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize(
    ("options", "stage"),
    [(LONG_FIT, "fit"), (LONG_WINDOW, "score")],
    ids=["fit", "first-window"],
)
def test_a_run_interrupted_before_its_first_window_leaves_nothing(
    number: signal.Signals, options: tuple[str, ...], stage: str, here: Path
) -> None:
    before = listing(here)
    process = start("large.tif", "-o", "existing.tif", "--overwrite", *options)
    wait_for(process, stage)
    stderr = interrupt(process, number)
    assert stderr.splitlines() == ["hadgeo: stopped; no unfinished files were left behind"]
    assert listing(here) == before


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize("times", [1, 5], ids=["once", "impatient"])
def test_a_run_interrupted_later_says_what_it_keeps(number: signal.Signals, times: int, here: Path) -> None:
    before = listing(here)
    process = start("large.tif", "-o", "existing.tif", "--overwrite", "-d", "rx", "--window", "2")
    wait_for(process, "score", 1)
    stderr = interrupt(process, number, times)
    said = r"hadgeo: stopped; (\d+) of 15000 windows are kept in existing\.tif\.part; continue with --resume\n"
    assert re.fullmatch(said, stderr), stderr
    after = listing(here)
    unfinished = {name for name in after if "existing.tif.part" in name}
    assert unfinished
    assert {name: data for name, data in after.items() if name not in unfinished} == before


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_run_interrupted_while_its_map_is_copied_keeps_every_window(
    number: signal.Signals, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    wide = np.random.default_rng(0).integers(0, 255, (2, 3500, 3500), dtype=np.uint8)
    write_tiff(Path("wide.tif"), wide, tags={"wavelength": "500, 600", "wavelength_units": "nm"})
    options = ("-d", "rx", "--bands", "1-2")
    process = start("wide.tif", "-o", "map.tif", *options)
    copy = Path("map.tif.part", "cog.tif")
    while not copy.exists():
        assert process.poll() is None, process.communicate()[1]
        time.sleep(0.01)
    stderr = interrupt(process, number)
    kept = re.fullmatch(r"hadgeo: stopped; (\d+) of \1 windows are kept in map\.tif\.part; .*--resume\n", stderr)
    assert kept, stderr
    assert not Path("map.tif").exists()
    result = run("detect", "wide.tif", "-o", "map.tif", *options, "--resume", "--progress", "json")
    assert json.loads(result.stdout.splitlines()[-1])["windows_kept"] == int(kept[1])
    assert run("detect", "wide.tif", "-o", "whole.tif", *options, "-q").exit_code == 0
    assert Path("map.tif").read_bytes() == Path("whole.tif").read_bytes()


def interrupt(process: subprocess.Popen[str], number: signal.Signals, times: int = 1) -> str:
    """Send a signal, so many times, and see the process end in time; give what it said."""
    time.sleep(0.2)
    begin = time.monotonic()
    for _ in range(times):
        process.send_signal(number)
        time.sleep(0.02)
    _, stderr = process.communicate(timeout=60)
    assert process.returncode == 130, stderr
    assert time.monotonic() - begin < 20
    return stderr


def test_a_map_is_written_by_one_run_at_a_time(here: Path) -> None:
    first = start("large.tif", "-o", "map.tif", *LONG_FIT)
    try:
        wait_for(first, "fit")
        check(
            Bad("", ("map.tif is being written by another run of hadgeo", "wait for it", "-o")),
            here,
            *["detect", "large.tif", "-o", "map.tif", "--overwrite", "-d", "rx"],
        )
    finally:
        first.kill()
        first.communicate()
    # A process that was killed holds nothing any more.
    assert run("detect", "good.tif", "-d", "rx", "-q", "-o", "map.tif").exit_code == 0
    assert not Path("map.tif.part").exists()


@pytest.mark.parametrize("kind", ["file", "folder"])
def test_what_stands_where_a_map_would_grow_is_not_touched(kind: str, here: Path) -> None:
    place = Path("map.tif.part")
    if kind == "folder":
        place.mkdir()
        place = place / "thesis.txt"
    place.write_bytes(b"precious")
    bad = Bad("", ("map.tif.part is in the way", "move it away", "-o"))
    check(bad, here, *["detect", "good.tif", "-d", "rx", "-o", "map.tif", "--overwrite"])


def mount(*args: str) -> None:
    subprocess.run(["mount", *args], check=True, capture_output=True)


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 4 MB, where this process may mount one."""
    disk = tmp_path / "disk"
    disk.mkdir()
    try:
        mount("-t", "tmpfs", "-o", "size=4m", "hadgeo-test", str(disk))
    except (OSError, subprocess.CalledProcessError):
        pytest.skip("no permission to mount a small file system")
    try:
        yield disk
    finally:
        subprocess.run(["umount", str(disk)], check=True)


def leave(disk: Path, free: int) -> None:
    """Have another file eat a disk's space."""
    (disk / "eater").write_bytes(bytes(shutil.disk_usage(disk).free - free))


def test_a_disk_that_is_too_small_is_refused_before_anything_is_computed(small_disk: Path, here: Path) -> None:
    (small_disk / "map.tif").write_bytes(b"the map of yesterday")
    leave(small_disk, 200_000)
    before = listing(small_disk)
    result = run("detect", "large.tif", "-q", "-o", str(small_disk / "map.tif"), "--overwrite")
    assert result.exit_code == 2
    assert_one_line(result.stderr, "map.tif", "MB of disk", "free some space")
    assert listing(small_disk) == before


@pytest.mark.parametrize(("free", "existing"), [(0, True), (60_000, True), (4096, False)])
def test_a_disk_that_fills_under_a_run_loses_neither_what_was_there_nor_what_is_finished(
    free: int, existing: bool, small_disk: Path, here: Path
) -> None:
    target = small_disk / "map.tif"
    if existing:
        target.write_bytes(b"the map of yesterday")
    options = ("-o", str(target), "--overwrite", "-d", "bs3lnet", "-p", "steps=1", "-p", "channels=128")
    process = start("large.tif", *options)
    wait_for(process, "score")
    process.send_signal(signal.SIGSTOP)
    part = small_disk / "map.tif.part" / "scores.tif"
    assert part.stat().st_size > 300 * 200 * 4
    leave(small_disk, free)
    process.send_signal(signal.SIGCONT)
    _, stderr = process.communicate(timeout=300)
    assert process.returncode == 2
    # libtiff prints complaints of its own, which nobody can turn off.
    told = [line for line in stderr.splitlines() if not line.startswith("_tiff")]
    assert_one_line("\n".join(told), str(target), "the disk is full", "free some space", "windows are kept")
    (small_disk / "eater").unlink()
    assert (target.read_bytes() == b"the map of yesterday") if existing else not target.exists()
    assert run("detect", "large.tif", *options, "-q", "--resume").exit_code == 0
    assert {path.name for path in small_disk.iterdir()} == {"map.tif", "map.json"}


def test_a_disk_that_fills_between_windows_leaves_a_run_that_can_go_on(small_disk: Path, here: Path) -> None:
    options = ("-d", "rx", "--window", "10", "-o", str(small_disk / "map.tif"))
    process = start("large.tif", *options)
    wait_for(process, "score", 1)
    process.send_signal(signal.SIGSTOP)
    leave(small_disk, 0)
    process.send_signal(signal.SIGCONT)
    _, stderr = process.communicate(timeout=60)
    assert process.returncode == 2
    told = [line for line in stderr.splitlines() if not line.startswith("_tiff")]
    assert_one_line("\n".join(told), "map.tif cannot be written: the disk is full", "kept in", "continue with --resume")
    (small_disk / "eater").unlink()
    result = run("detect", "large.tif", *options, "--resume", "--progress", "json")
    assert result.exit_code == 0, result.output
    assert json.loads(result.stdout.splitlines()[-1])["windows_kept"] > 0
    assert run("detect", "large.tif", "-d", "rx", "--window", "10", "-q", "-o", "whole.tif").exit_code == 0
    assert (small_disk / "map.tif").read_bytes() == Path("whole.tif").read_bytes()
    assert {path.name for path in small_disk.iterdir()} == {"map.tif", "map.json"}


def test_what_was_scored_survives_a_disk_that_is_full_for_a_while(small_disk: Path) -> None:
    scores = background((1, 200, 300))[0]
    target = small_disk / "map.tif"
    writer = ScoreWriter(target, grid=Grid((200, 300)), description="scores", tags={})
    with writer:
        leave(small_disk, 0)
        for window in tile((200, 300), (64, 64)):
            writer.write(window, scores[window.rows, window.cols])
        (small_disk / "eater").unlink()
        writer.finish()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", NotGeoreferencedWarning)
        with rasterio.open(target) as dataset:
            np.testing.assert_array_equal(dataset.read(1), scores)
    assert [path.name for path in small_disk.iterdir()] == ["map.tif"]


@pytest.fixture
def failing_disk(tmp_path: Path) -> Iterator[Callable[[], None]]:
    """A disk at `disk`, and what makes the end of it fail; where this process may mount one."""
    image, disk = tmp_path / "image", tmp_path / "disk"
    image.write_bytes(bytes(16 * 2**20))
    disk.mkdir()

    def fail() -> None:
        subprocess.run(["sync", "-f", str(disk)], check=True)
        os.truncate(image, 13 * 2**20)
        Path("/proc/sys/vm/drop_caches").write_text("1")

    try:
        subprocess.run(["mkfs.ext4", "-q", "-O", "^has_journal", str(image)], check=True, capture_output=True)
        mount("-o", "loop,noatime", str(image), str(disk))
    except (OSError, subprocess.CalledProcessError):
        pytest.skip("no permission to mount an image of a disk")
    try:
        yield fail
    finally:
        subprocess.run(["umount", str(disk)], check=True)


@pytest.mark.parametrize("interleave", ["bsq", "bil", "bip"])
def test_a_disk_that_fails_is_named_with_the_bytes(
    interleave: str, failing_disk: Callable[[], None], tmp_path: Path, here: Path
) -> None:
    line = tmp_path / "line.img"
    hadgeo.simulate(line, rows=1600, cols=64, bands=60, targets=0, interleave=interleave)
    # The header stays where it can be read.
    stored = shutil.move(line, tmp_path / "disk")
    line.symlink_to(stored)
    failing_disk()
    bad = Bad(
        "",
        ("line.img: rows", ", bytes ", "can no longer be read (Input/output error)", "is its disk failing?"),
        code=1,
    )
    check(bad, here, "detect", "-q", str(line), "-d", "rx", "-o", "map.tif")
    assert not Path("map.tif.part").exists()
