"""The worker: one job in, JSON lines out, in real processes."""

from __future__ import annotations

import io
import itertools
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click
import numpy as np
import pytest
import rasterio
from affine import Affine
from hypothesis import given
from hypothesis import strategies as st

import hadgeo
from hadgeo.cli import cli
from hadgeo.worker import PROTOCOL, JobError, JobProgress, command_line, find_command, serve

ROOT = Path(__file__).parents[1]

#: Some seconds in one window: nothing but the end of the process can stop that arithmetic.
LONG_WINDOW = {"detector": "bs3lnet", "parameter": {"steps": 1, "channels": 256, "statistic": "mse"}}
LONG_FIT = {"detector": "bs3lnet", "parameter": {"steps": 100_000}}


@pytest.fixture(scope="module")
def scene(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("scene") / "scene.tif"
    hadgeo.simulate(path, rows=300, cols=200, bands=10, targets=3)
    return path


def job(command: str, **arguments: Any) -> str:
    return json.dumps({"protocol": PROTOCOL, "command": command, "arguments": arguments})


def start(*words: str) -> subprocess.Popen[str]:
    env = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-u", *(words or ("-m", "hadgeo.worker"))]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    return subprocess.Popen(command, text=True, env=env, **pipes)


def ask(process: subprocess.Popen[str], text: str) -> None:
    """Send a job and leave the input open."""
    assert process.stdin is not None
    process.stdin.write(text + "\n")
    process.stdin.flush()


def close_input(process: subprocess.Popen[str]) -> None:
    assert process.stdin is not None
    process.stdin.close()
    process.stdin = None


def answers(process: subprocess.Popen[str]) -> Iterator[dict[str, Any]]:
    assert process.stdout is not None
    for line in process.stdout:
        yield json.loads(line)


def answer(text: str, *words: str) -> tuple[int, list[dict[str, Any]], str]:
    """Exit status, all lines, and stderr of a job that is left to end on its own."""
    process = start(*words)
    ask(process, text)
    lines = list(answers(process))
    status = process.wait(60)
    _, stderr = process.communicate()
    return status, lines, stderr


def wait_for(process: subprocess.Popen[str], stage: str, done: int = 0) -> None:
    for line in answers(process):
        if line.get("stage") == stage and line["done"] >= done:
            return
    pytest.fail(f"{stage} never came: {process.communicate()[1]}")


def test_a_job_gives_the_bytes_of_the_command_line(scene: Path, tmp_path: Path) -> None:
    out = tmp_path / "größer als 1.tif"
    status, lines, _ = answer(
        job("detect", scenes=[str(scene)], detector="rx", output=str(out), parameter={"shrinkage": 0.1, "sample": None})
    )
    assert status == 0
    assert lines[0] == {"type": "hello", "protocol": PROTOCOL, "version": hadgeo.__version__}
    assert {line["type"] for line in lines[1:]} == {"log", "progress", "result"}
    assert {name for line in lines for name in line.get("unfinished", ())} == {f"{out}.part"}
    assert lines[-1]["type"] == "result"
    assert lines[-1]["map"] == str(out)
    finished = {line["stage"] for line in lines if line["type"] == "progress" and line["percent"] == 100}
    assert finished == {"statistics", "score"}
    twin = tmp_path / "twin.tif"
    hadgeo.detect(scene, "rx", parameters={"shrinkage": 0.1}, out=twin)
    assert out.read_bytes() == twin.read_bytes()


def test_a_batch_tells_of_its_progress_and_of_each_line(scene: Path, tmp_path: Path) -> None:
    broken = tmp_path / "broken.tif"
    broken.write_text("no raster")
    given = {"scenes": [str(scene), str(broken)], "output": str(tmp_path / "maps"), "detector": "rx"}
    status, lines, _ = answer(job("batch", **given))
    assert status == 0
    assert lines[-1]["type"] == "result"
    assert [line["state"] for line in lines[-1]["lines"]] == ["done", "failed"]
    assert "broken.tif" in lines[-1]["lines"][1]["error"]
    assert {"score"} <= {line["stage"] for line in lines if line["type"] == "progress"}
    assert f"flight line 1 of 2: {scene}" in [line["message"] for line in lines if line["type"] == "log"]


def test_a_job_may_stand_in_a_file(tmp_path: Path) -> None:
    (tmp_path / "job.json").write_text(job("versions", json=True), encoding="utf-8")
    done = subprocess.run(
        [sys.executable, "-m", "hadgeo.worker", "--job", str(tmp_path / "job.json")],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=True,
    )
    result = json.loads(done.stdout.splitlines()[-1])
    assert result["type"] == "result"
    assert result["hadgeo"] == hadgeo.__version__
    assert result["devices"][0].startswith("cpu")


def test_simulate_train_and_detect_with_a_model_tell_their_results(tmp_path: Path) -> None:
    line, model = str(tmp_path / "line.img"), str(tmp_path / "m.hadgeo")
    _, made, _ = answer(job("simulate", out=line, rows=40, cols=30, bands=12, targets=2))
    assert made[-1]["targets"] == 2
    _, trained, _ = answer(job("train", scenes=[line], detector="rx", output=model))
    assert trained[-1]["model"] == model
    _, applied, _ = answer(job("detect", scenes=[line], model=model, overwrite=True))
    assert applied[-1]["map"] == str(tmp_path / "line_anomaly.tif")
    _, shown, _ = answer(job("model info", file=model, json=True))
    assert shown[-1]["detector"] == "rx"


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", ("not a valid job", "EOF")),
        ("hello", ("not a valid job", "Invalid JSON")),
        ('{"protocol": 1}', ("not a valid job", "command", "Field required")),
        ('{"protocol": "1", "command": "info"}', ("not a valid job", "protocol", "integer")),
        ('{"protocol": 1, "command": "info", "shell": "rm"}', ("not a valid job", "shell", "not permitted")),
        ('{"protocol": 1, "command": "info", "arguments": {"file": [[]]}}', ("not a valid job", "arguments.file")),
        ('{"protocol": 99, "command": "info"}', ("version 99", "speaks 1", "update hadgeo")),
        ('{"protocol": 0, "command": "info"}', ("version 0", "update the program that sent it")),
        (job("divine"), ("no command 'divine'", "detect, ")),
        (job("model"), ("no command 'model'",)),
        (job("model info deeper"), ("no command 'model info deeper'",)),
        (job("detect", scene="x.tif"), ("no argument 'scene'", "scenes")),
        (job("info"), ("Missing argument 'FILE'",)),
        (job("detect", scenes="missing.tif"), ("missing.tif: no such file",)),
        (job("detect", scenes="missing.tif", window=0), ("0 is not in the range",)),
        (job("detectors", name="xr"), ("did you mean 'rx'",)),
        (job("detect", scenes="--debug"), ("--debug: no such file",)),
    ],
)
def test_a_bad_job_is_one_line(text: str, words: tuple[str, ...]) -> None:
    stream, stop = io.StringIO(), threading.Event()
    status = serve(lambda: text, JobProgress(stream, stop))
    stop.set()
    lines = [json.loads(line) for line in stream.getvalue().splitlines()]
    assert [line["type"] for line in lines if line["type"] != "progress"] == ["hello", "error"]
    assert status == lines[-1]["code"] == 2
    for word in words:
        assert word in lines[-1]["message"]


def test_a_process_that_gets_no_job_says_so() -> None:
    process = start()
    close_input(process)
    lines = list(answers(process))
    assert process.wait(60) == lines[-1]["code"] == 2
    assert process.communicate()[1] == ""


def test_a_bug_is_told_with_its_kind_and_leaves_a_traceback_on_stderr() -> None:
    program = (
        "import hadgeo.cli.versions as v, hadgeo.worker as w\n"
        "def fail(**_): raise ZeroDivisionError('oh')\n"
        "v.command.callback = fail\n"
        "w.main([])"
    )
    status, lines, stderr = answer(job("versions"), "-c", program)
    assert status == lines[-1]["code"] == 1
    assert "unexpected ZeroDivisionError: oh" in lines[-1]["message"]
    assert "Traceback" in stderr


def test_stray_prints_cannot_break_the_protocol() -> None:
    program = (
        "import os, sys, subprocess, hadgeo.cli.versions as v, hadgeo.worker as w\n"
        "inner = v.command.callback\n"
        "def noisy(**options):\n"
        "    print('from Python'); os.write(1, b'from C\\n'); subprocess.run(['echo', 'from a child'])\n"
        "    assert sys.stdin.read() == ''\n"
        "    inner(**options)\n"
        "v.command.callback = noisy\n"
        "w.main([])"
    )
    status, lines, stderr = answer(job("versions", json=True), "-c", program)
    assert status == 0
    assert lines[-1]["hadgeo"] == hadgeo.__version__
    for origin in ("Python", "C", "a child"):
        assert f"from {origin}" in stderr


def test_warnings_are_log_lines(tmp_path: Path) -> None:
    path = tmp_path / "plain.tif"
    place = {"crs": "EPSG:32633", "transform": Affine(2, 0, 5e5, 0, -2, 4.5e6)}
    with rasterio.open(path, "w", driver="GTiff", count=5, height=9, width=9, dtype="uint8", **place) as dataset:
        dataset.write(np.random.default_rng(0).integers(0, 9, (5, 9, 9), "uint8"))
    _, lines, _ = answer(job("detect", scenes=[str(path)], detector="rx"))
    warned = [line["message"] for line in lines if line.get("level") == "warning"]
    assert any("wavelengths" in message for message in warned)


@pytest.mark.parametrize(
    ("parameters", "stage", "done"),
    [(LONG_FIT, "start", 0), (LONG_FIT, "fit", 2), (LONG_WINDOW, "score", 0)],
    ids=["start", "fit", "window"],
)
def test_the_end_of_the_input_stops_a_run_at_once_and_leaves_nothing(
    parameters: dict[str, Any], stage: str, done: int, scene: Path, tmp_path: Path
) -> None:
    process = start()
    ask(process, job("detect", scenes=[str(scene)], output=str(tmp_path / "map.tif"), **parameters))
    wait_for(process, stage, done)
    time.sleep(0.2)
    begin = time.monotonic()
    close_input(process)
    lines = list(answers(process))
    assert process.wait(60) == 130
    assert time.monotonic() - begin < 20
    assert lines[-1] == {"type": "error", "message": "stopped", "code": 130}
    process.communicate()
    assert not list(tmp_path.iterdir())


def test_the_worker_dies_with_its_client(scene: Path, tmp_path: Path) -> None:
    client = (
        "import subprocess, sys\n"
        "worker = subprocess.Popen([sys.executable, '-m', 'hadgeo.worker'], stdin=subprocess.PIPE)\n"
        "worker.stdin.write(sys.argv[1].encode() + b'\\n'); worker.stdin.flush()\n"
        "print(worker.pid, flush=True); worker.wait()"
    )
    text = job("detect", scenes=[str(scene)], output=str(tmp_path / "map.tif"), **LONG_FIT)
    process = start("-c", client, text)
    assert process.stdout is not None
    pid = int(process.stdout.readline())
    wait_for(process, "fit", 2)
    process.kill()
    process.wait()
    begin = time.monotonic()
    while alive(pid):
        assert time.monotonic() - begin < 20
        time.sleep(0.05)
    process.communicate()
    assert not list(tmp_path.iterdir())


def alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except OSError:
        return False


def test_a_worker_that_nobody_reads_stops(scene: Path, tmp_path: Path) -> None:
    process = start()
    ask(process, job("detect", scenes=[str(scene)], output=str(tmp_path / "map.tif"), **LONG_FIT))
    wait_for(process, "fit", 2)
    assert process.stdout is not None
    process.stdout.close()
    process.stdout = None
    assert process.wait(10) == 130
    process.communicate()
    assert not list(tmp_path.iterdir())


def test_sigterm_stops_it_too(scene: Path, tmp_path: Path) -> None:
    process = start()
    ask(process, job("detect", scenes=[str(scene)], output=str(tmp_path / "map.tif"), **LONG_FIT))
    wait_for(process, "fit", 2)
    process.send_signal(signal.SIGTERM)
    lines = list(answers(process))
    assert process.wait(10) == 130
    process.communicate()
    assert lines[-1]["message"] == "stopped"
    assert not list(tmp_path.iterdir())


def test_there_is_a_sign_of_life_every_second_or_so(scene: Path, tmp_path: Path) -> None:
    process = start()
    parameters = {"steps": 2, "channels": 512, "blocks": 6, "statistic": "mse"}
    out = str(tmp_path / "map.tif")
    ask(process, job("detect", scenes=[str(scene)], detector="bs3lnet", output=out, parameter=parameters))
    times = []
    for line in answers(process):
        times.append(time.monotonic())
        if line.get("stage") == "score" and line["seconds"] > 6:
            break
    close_input(process)
    process.communicate()
    # The first line comes before torch is there; none of a long stretch of arithmetic may be silent.
    assert max(b - a for a, b in itertools.pairwise(times)) < 5


@given(
    text=st.text(max_size=30),
    numbers=st.dictionaries(st.text("abc_", min_size=1, max_size=5).filter(str.strip), st.integers(), max_size=3),
    window=st.none() | st.integers(1, 10**6),
    flag=st.booleans() | st.none(),
    scenes=st.lists(st.text(min_size=1, max_size=10), min_size=1, max_size=3),
)
def test_arguments_arrive_as_they_were_sent(
    text: str, numbers: dict[str, int], window: int | None, flag: bool | None, scenes: list[str]
) -> None:
    command, _ = find_command("detect")
    arguments = {
        "output": text, "parameter": numbers, "window": window, "overwrite": flag, "scenes": scenes
    }  # fmt: skip
    context = command.make_context("detect", command_line(command, arguments))
    assert context.params["output"] == text
    assert context.params["parameters"] == {key.strip(): str(value) for key, value in numbers.items()}
    assert context.params["window"] == window
    assert context.params["overwrite"] == bool(flag)
    assert context.params["scenes"] == tuple(scenes)


def test_options_of_several_places_are_filled() -> None:
    @click.command()
    @click.option("--box", nargs=4, type=float)
    def command(box: tuple[float, ...]) -> None: ...

    words = command_line(command, {"box": [-1.5, 2, -3, 4]})
    assert command.make_context("x", words).params["box"] == (-1.5, 2.0, -3.0, 4.0)


def test_every_command_can_be_asked_for() -> None:
    for name in cli.list_commands(click.Context(cli)):
        command = cli.get_command(click.Context(cli), name)
        if not isinstance(command, click.Group):
            assert find_command(name)[0] is command
    with pytest.raises(JobError, match="no command ''"):
        find_command("")
