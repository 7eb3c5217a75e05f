"""Scoring on real schedulers and worker processes: the same bytes, workers that die, scenes that they cannot see."""

from __future__ import annotations

import os
import pickle
import re
import shlex
import shutil
import signal
import subprocess
import sys
import threading
import time
import zipfile
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import psutil
import pytest
import torch
import xarray as xr
from distributed.core import error_message

import hadgeo
from hadgeo.compute.memory import machine_memory
from hadgeo.errors import Cancelled, ClusterError, CubeError, DeviceError, MissingExtraError, ParameterError, ReadError
from hadgeo.formats import open_source
from hadgeo.maps.journal import Journal
from hadgeo.mission.batch import Unwatched, run_batch
from hadgeo.mission.flight_lines import FlightLine, flight_lines
from hadgeo.progress import Progress, Silent
from hadgeo.run.cluster import Cluster, Recipe, RemoteScorer, connect
from hadgeo.run.scoring import WindowScorer
from hadgeo.windows import Window
from tests.support import Recorder, background

# Connections that end with their worker are dask's business, and it warns of sockets that it closes late.
pytestmark = pytest.mark.filterwarnings("ignore::ResourceWarning", "ignore::pytest.PytestUnraisableExceptionWarning")

ROOT = Path(__file__).parents[2]
ENV = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1", "OMP_WAIT_POLICY": "passive"}
WINDOW = 20


@pytest.fixture(scope="module")
def line(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("line") / "line.img"
    hadgeo.simulate(path, rows=400, cols=60, bands=24, rotation=20, wedges=0.2, targets=3, seed=3)
    return path


@pytest.fixture(scope="module")
def in_threads(line: Path) -> bytes:
    return hadgeo.detect(line, "rx", window=WINDOW, out=line.with_name("threads.tif")).path.read_bytes()


@contextmanager
def process(*command: str | Path, **settings: Any) -> Iterator[subprocess.Popen[str]]:
    """A process that ends with the block, and all that it began."""
    begun = subprocess.Popen(
        list(map(str, command)), env=ENV, stderr=subprocess.PIPE, stdout=subprocess.PIPE, text=True, **settings
    )
    try:
        yield begun
    finally:
        for one in [*psutil.Process(begun.pid).children(recursive=True), begun] if begun.poll() is None else []:
            one.kill()
        begun.communicate()


@pytest.fixture(scope="module")
def scheduler() -> Iterator[str]:
    """The address of a scheduler without workers."""
    with process(
        sys.executable, "-m", "distributed.cli.dask_scheduler", "--host", "127.0.0.1", "--port", "0", "--no-dashboard"
    ) as begun:
        assert begun.stderr is not None
        for text in begun.stderr:
            found = re.search(r"Scheduler at:\s+(tcp://\S+)", text)
            if found:
                break
        assert found
        yield found[1]


def worker(scheduler: str, folder: Path, *before: str) -> Any:
    """A worker process of one thread that nobody starts again."""
    module = [sys.executable, "-m", "distributed.cli.dask_worker", scheduler]
    options = ["--nthreads", "1", "--no-nanny", "--no-dashboard", "--memory-limit", "0", "--local-directory"]
    return process(*before, *module, *options, folder, cwd=folder)


@pytest.fixture
def two_workers(scheduler: str, tmp_path: Path) -> Iterator[tuple[Cluster, list[subprocess.Popen[str]]]]:
    with ExitStack() as stack:
        processes = [stack.enter_context(worker(scheduler, tmp_path)) for _ in range(2)]
        cluster = stack.enter_context(connect(scheduler))
        cluster._client.wait_for_workers(2, timeout=60)
        yield cluster, processes


class Slayer(Recorder):
    """Kills a worker after a few windows."""

    def __init__(self, victim: subprocess.Popen[str], after: int) -> None:
        super().__init__()
        self._victim, self._after = victim, after
        self.struck = False

    def advance(self, n: int = 1) -> None:
        super().advance(n)
        if "score" in self.stages:
            self._after -= 1
            if self._after == 0:
                self._victim.kill()
                self.struck = True


def test_workers_give_the_bytes_of_threads_whatever_becomes_of_them(
    two_workers: tuple[Cluster, list[subprocess.Popen[str]]],
    line: Path,
    in_threads: bytes,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    cluster, (first, second) = two_workers
    assert cluster.threads == 2
    assert cluster.memory == machine_memory()
    done = hadgeo.detect(line, "rx", window=WINDOW, out=tmp_path / "two.tif", cluster=cluster)
    assert done.path.read_bytes() == in_threads
    learned = {"parameters": {"steps": 2, "crop": 16}, "window": 100, "bands": "1-8"}
    here = hadgeo.detect(line, "bs3lnet", out=tmp_path / "bs3lnet.tif", **learned)
    there = hadgeo.detect(line, "bs3lnet", out=tmp_path / "bs3lnet2.tif", cluster=cluster, **learned)
    assert there.path.read_bytes() == here.path.read_bytes()
    learned["parameters"] = {"parts": "bs3lnet(steps=2, crop=16) + block_rx | rx@3"}
    here = hadgeo.detect(line, "fusion", out=tmp_path / "fusion.tif", **learned)
    there = hadgeo.detect(line, "fusion", out=tmp_path / "fusion2.tif", cluster=cluster, **learned)
    assert there.path.read_bytes() == here.path.read_bytes()

    slayer = Slayer(first, after=5)
    done = hadgeo.detect(line, "rx", window=WINDOW, out=tmp_path / "one.tif", cluster=cluster, progress=slayer)
    assert slayer.struck
    assert first.wait(10) == -signal.SIGKILL
    assert done.path.read_bytes() == in_threads
    assert cluster.threads == 1

    cube = xr.DataArray(background((5, 40, 40)), dims=("band", "y", "x"))
    with pytest.raises(CubeError, match="array in memory"):
        hadgeo.detect(cube, "rx", out=tmp_path / "array.tif", cluster=cluster)
    with monkeypatch.context() as patch:
        patch.setattr("hadgeo.run.cluster.__version__", "99.0")
        with pytest.raises(
            ClusterError, match=rf"worker tcp://\S+ on \S+ has hadgeo {hadgeo.__version__}, but this is 99"
        ):
            cluster.device("cpu")
    if not torch.backends.mps.is_available():
        with pytest.raises(DeviceError, match=r"worker tcp://\S+: --device mps: not available"):
            cluster.device("mps")

    monkeypatch.setattr("hadgeo.run.cluster.LOST_TIMEOUT", 2.0)
    out = tmp_path / "none.tif"
    with pytest.raises(ClusterError, match=r"no worker has been left .* --resume") as lost:
        hadgeo.detect(line, "rx", window=WINDOW, out=out, cluster=cluster, progress=Slayer(second, after=5))
    assert lost.value.exit_code == 1
    kept = len(Journal.read(tmp_path / "none.tif.part") or ())
    assert kept >= 5
    done = hadgeo.detect(line, "rx", window=WINDOW, out=out, resume=True)
    assert (done.windows_kept, out.read_bytes()) == (kept, in_threads)


@pytest.mark.skipif(os.name != "posix" or shutil.which("unshare") is None, reason="needs mount namespaces")
def test_a_worker_that_cannot_see_the_scene_is_named(scheduler: str, line: Path, tmp_path: Path) -> None:
    hide = f'mount -t tmpfs none {shlex.quote(str(line.parent))} && exec "$@"'
    if subprocess.run(["unshare", "-m", "sh", "-c", hide, "sh", "true"], check=False).returncode:
        pytest.skip("no permission to mount")
    with worker(scheduler, tmp_path, "unshare", "-m", "sh", "-c", hide, "sh"), connect(scheduler) as cluster:
        with pytest.raises(ReadError, match=rf"{re.escape(str(line))}: the worker on \S+ cannot see it"):
            hadgeo.detect(line, "rx", window=WINDOW, out=tmp_path / "map.tif", cluster=cluster)
        assert not list(tmp_path.glob("map*"))


def test_what_a_worker_may_not_open_comes_back_as_it_was_told(
    line: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("hadgeo.run.scoring.RETRY_PAUSES", ())
    store = tmp_path / "store.zip"
    with zipfile.ZipFile(store, "w") as archive:
        archive.write(line, "x.img")
        archive.write(line.with_suffix(".hdr"), "x.hdr")
    model = hadgeo.train([line], "rx", out=tmp_path / "m.hadgeo")
    source = open_source(f"/vsizip/{store}/x.img")
    scorer = WindowScorer(source, model.spectrum.indices, model.detector, torch.device("cpu"))
    remote = RemoteScorer(Recipe.of(scorer, "cpu"))
    store.unlink()
    with pytest.raises(ReadError) as caught:
        remote(Window(0, 0, 9, 9))
    # What dask sends instead where an error cannot be pickled is an Exception.
    arrived = pickle.loads(error_message(caught.value)["exception"].data)
    assert isinstance(arrived, ReadError)
    assert re.match(r"worker on \S+: /vsizip/\S+: cannot be opened again", str(arrived))


@pytest.mark.parametrize(
    ("where", "error", "told"),
    [
        ("local", ParameterError, "local:2"),
        ("local:0", ParameterError, "local:2"),
        ("local:-1", ParameterError, "local:2"),
        ("somewhere", ParameterError, r"tcp://host:8786, local:2 or cuda"),
        ("cuda", MissingExtraError, "dask-cuda"),
        ("nonsense://here", ClusterError, "no dask scheduler"),
        ("tcp://127.0.0.1:1", ClusterError, "no dask scheduler answers"),
    ],
)
def test_what_is_no_cluster_is_refused(
    where: str, error: type[Exception], told: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("hadgeo.run.cluster.ANSWER_TIMEOUT", 1.0)
    with pytest.raises(error, match=told), connect(where):
        pass


def test_a_scheduler_without_workers_is_refused(scheduler: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("hadgeo.run.cluster.JOIN_TIMEOUT", 1.0)
    told = "no workers after 1 s; start some with `dask worker tcp://"
    with pytest.raises(ClusterError, match=told), connect(scheduler):
        pass


class Order(Unwatched):
    """Notes from which line each window comes; the first two lines go on only once both have one."""

    def __init__(self, stop_after: int | None = None) -> None:
        self.windows: list[int] = []
        self._stop_after = stop_after
        self._both = threading.Barrier(2)

    def begun(self, number: int, line: FlightLine) -> Progress:
        order = self

        class Noted(Silent):
            scoring = False

            def stage(self, name: str, total: int) -> None:
                self.scoring = name == "score"

            def advance(self, n: int = 1) -> None:
                if not self.scoring:
                    return
                if number < 2 and number not in order.windows:
                    order._both.wait(60)
                order.windows.append(number)

            def cancelled(self) -> bool:
                return order._stop_after is not None and len(order.windows) >= order._stop_after

        return Noted()


def test_lines_of_a_batch_share_the_workers(
    two_workers: tuple[Cluster, list[subprocess.Popen[str]]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    scenes = [hadgeo.simulate(tmp_path / f"{i}.img", rows=400, cols=30, bands=8, seed=i).path for i in range(3)]
    # Windows of about 30 rows.
    monkeypatch.setattr("hadgeo.run.scoring.LIBRARY_BYTES", 10**9 - 10**5)
    settings: dict[str, Any] = {"detector": "rx", "memory": 10**9}
    alone, shared = tmp_path / "alone", tmp_path / "shared"
    run_batch(flight_lines(scenes, alone), alone, **settings)

    stopped = Order(stop_after=6)
    with pytest.raises(Cancelled) as caught:
        run_batch(flight_lines(scenes, shared), shared, cluster=two_workers[0], watch=stopped, **settings)
    assert "run the same command again to continue with the rest" in caught.value.__notes__[0]
    assert set(stopped.windows) == {0, 1}

    order = Order()
    batch = run_batch(flight_lines(scenes, shared), shared, cluster=two_workers[0], watch=order, **settings)
    assert [outcome.state for outcome in batch.outcomes] == ["done"] * 3
    assert len(order.windows) < 3 * 14
    for number in range(3):
        name = f"{number}_anomaly.tif"
        assert (shared / name).read_bytes() == (alone / name).read_bytes()


def family(pid: int) -> list[psutil.Process]:
    return psutil.Process(pid).children(recursive=True)


def wait_for(condition: Any, seconds: float) -> bool:
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if condition():
            return True
        time.sleep(0.05)
    return False


def on_a_terminal(command: Sequence[str | Path], number: int, ready: Any) -> tuple[int, str, list[psutil.Process]]:
    """Run a command in a group of its own, and signal all of the group, as a terminal does."""
    with process(*command, start_new_session=True) as begun:
        assert wait_for(ready, 60)
        children = family(begun.pid)
        os.killpg(begun.pid, number)
        _, errors = begun.communicate(timeout=30)
    return begun.returncode, errors, children


@pytest.mark.skipif(os.name != "posix", reason="needs process groups")
def test_ctrl_c_leaves_no_worker_behind(line: Path, in_threads: bytes, tmp_path: Path) -> None:
    out = tmp_path / "map.tif"
    journal = out.with_name("map.tif.part") / "journal.jsonl"
    # Small windows, so that there are some left.
    detect = [sys.executable, "-m", "hadgeo", "detect", line, "-d", "rx", "--window", "3", "-o", out]
    code, errors, children = on_a_terminal(
        [*detect, "--cluster", "local:1", "--quiet"],
        signal.SIGINT,
        lambda: journal.exists() and journal.read_text().count("\n") > 3,
    )
    assert code == 130
    assert children
    assert wait_for(lambda: not psutil.wait_procs(children, timeout=0)[1], 30), children
    # Old releases of torch warn of themselves where they send tensors.
    own = [line for line in errors.splitlines(keepends=True) if line.startswith("hadgeo: ")]
    assert re.fullmatch(r"hadgeo: stopped; \d+ of \d+ windows are kept in .*; continue with --resume\n", "".join(own))
    assert "Traceback" not in errors
