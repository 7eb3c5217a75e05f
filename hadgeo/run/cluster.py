"""Scoring on a dask cluster: the same windows and scorer as in threads, in other processes and on other machines.

The detector is fitted where `hadgeo` was called. Each worker process is sent the fitted detector once, opens the scene
by its path, and sends scores back to the one process that writes. A window whose worker dies is given to another one.
"""

from __future__ import annotations

import concurrent.futures
import logging
import socket
from collections.abc import Callable, Generator, Iterator, Sequence
from concurrent.futures import Future
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import psutil
import torch
from torch import Tensor

from hadgeo import __version__
from hadgeo.compute.device import resolve_device
from hadgeo.compute.executors import map_ahead
from hadgeo.compute.memory import machine_memory
from hadgeo.detectors.base import Detector
from hadgeo.errors import (
    ClusterError,
    ClusterLostError,
    CubeError,
    DeviceError,
    HadgeoError,
    MissingExtraError,
    ParameterError,
    ReadError,
)
from hadgeo.formats.gdal import bound_cache
from hadgeo.formats.source import Source
from hadgeo.run.scoring import Scored, WindowScorer
from hadgeo.windows import Window

if TYPE_CHECKING:
    from distributed import Client

#: Seconds to wait for a scheduler to answer, for a first worker to join it, and in the middle of a run without any.
ANSWER_TIMEOUT, JOIN_TIMEOUT, LOST_TIMEOUT = 10.0, 60.0, 60.0

#: Threads of a worker of our own: one reads while the other scores.
_LOCAL_THREADS = 2

#: Seconds that a cluster of our own has to end in good order.
_CLOSE_TIMEOUT = 5.0

#: Dask's setting for the environment of worker processes.
ENVIRONMENT = "distributed.nanny.pre-spawn-environ"

#: Share of a worker's memory limit that windows may take: above 0.6 of it dask moves results to the disk.
_SHARE = 0.5


@contextmanager
def connect(where: str) -> Iterator[Cluster]:
    """Use a cluster within a ``with`` block.

    Args:
        where: ``tcp://host:8786``, the address of a dask scheduler; ``local:4`` for that many processes here;
            or ``cuda`` for one process per GPU. The last two start and stop with the block.

    Yields:
        The cluster, for the argument `cluster` of `hadgeo.detect`.

    Raises:
        ParameterError: `where` is none of these.
        MissingExtraError: distributed, or for ``cuda`` dask-cuda, is not installed.
        ClusterError: No scheduler answers there, or it has no workers.

    Examples:
        >>> with connect("tcp://scheduler:8786") as cluster:
        ...     hadgeo.detect("line.img", cluster=cluster)
    """
    start = _starter(where)
    try:
        from distributed import Client
    except ImportError as error:
        raise MissingExtraError('--cluster needs distributed; install it with pip install "hadgeo[cluster]"') from error
    with start() as address:
        try:
            client = Client(address, timeout=ANSWER_TIMEOUT, set_as_default=False)
        except (OSError, ValueError) as error:
            raise ClusterError(
                f"--cluster {where}: no dask scheduler answers there ({_first_line(error)}); "
                "start one with `dask scheduler`, or use --cluster local:2"
            ) from error
        with client:
            try:
                client.wait_for_workers(1, timeout=JOIN_TIMEOUT)
            except TimeoutError:
                raise ClusterError(
                    f"--cluster {where}: the scheduler has no workers after {JOIN_TIMEOUT:.0f} s; "
                    f"start some with `dask worker {where}`"
                ) from None
            yield Cluster(client, where)


def _starter(where: str) -> Callable[[], Any]:
    """What gives the address of a scheduler, as a context manager."""
    kind, _, count = where.partition(":")
    if kind == "local":
        if not count.isdecimal() or int(count) < 1:
            raise ParameterError(f"--cluster {where}: give the number of processes, as in local:2")
        return lambda: _local(int(count))
    if where == "cuda":
        return _cuda
    if "://" in where:
        return lambda: _existing(where)
    raise ParameterError(f"--cluster {where}: write tcp://host:8786, local:2 or cuda")


@contextmanager
def _existing(address: str) -> Iterator[str]:
    yield address


@contextmanager
def _local(count: int) -> Iterator[Any]:
    import dask.config
    from distributed import LocalCluster

    settings = {ENVIRONMENT: worker_environment(max(1, (psutil.cpu_count() or 1) // count))}
    limit = machine_memory() // count
    with (
        dask.config.set(settings),
        _owned(LocalCluster, n_workers=count, threads_per_worker=_LOCAL_THREADS, memory_limit=limit) as cluster,
    ):
        yield cluster


def worker_environment(threads: int) -> dict[str, Any]:
    """Environment variables of a worker process, in the place of dask's own.

    Dask's set MALLOC_TRIM_THRESHOLD_, with which glibc gives the memory of every tensor back to the system and takes it
    anew; that cost BS3LNet a third to two thirds more processor time.

    Args:
        threads: Threads of its arithmetic.
    """
    return {"OMP_NUM_THREADS": threads, "OMP_WAIT_POLICY": "passive"}


@contextmanager
def _cuda() -> Iterator[Any]:
    try:
        from dask_cuda import LocalCUDACluster
    except ImportError as error:
        raise MissingExtraError(
            "--cluster cuda needs dask-cuda, which runs on Linux with NVIDIA's driver; install it with "
            "pip install dask-cuda, or use --cluster local:2 or --device cuda"
        ) from error
    with _owned(LocalCUDACluster, threads_per_worker=_LOCAL_THREADS) as cluster:
        yield cluster


@contextmanager
def _owned(make: Callable[..., Any], **settings: Any) -> Iterator[Any]:
    """A cluster of our own, whose processes end with the block, whatever happens."""
    cluster = make(silence_logs=logging.CRITICAL, dashboard_address="127.0.0.1:0", **settings)
    try:
        yield cluster
    except BaseException:
        # Who stops a run shall not wait for windows that nobody wants any more.
        for process in _processes(cluster):
            process.kill()
        raise
    finally:
        cluster.close(timeout=_CLOSE_TIMEOUT)


class Cluster:
    """A dask cluster that scores windows.

    Args:
        client: A client of its scheduler.
        where: What people call it.

    Attributes:
        where: What people call it.
    """

    def __init__(self, client: Client, where: str = "dask") -> None:
        self._client = client
        self.where = where

    @property
    def threads(self) -> int:
        """Windows that can be under way at once."""
        return max(1, sum(map(int, self._client.nthreads().values())))

    @property
    def memory(self) -> int:
        """Bytes that each worker process may take; where nobody limits them, the memory of a machine like this one."""
        limits = [int(worker["memory_limit"] * _SHARE) for worker in self._workers().values() if worker["memory_limit"]]
        return min(limits, default=machine_memory())

    def device(self, word: str) -> torch.device:
        """What kind of device the workers score on.

        Args:
            word: As for `hadgeo.detect`; each worker resolves it for itself.

        Raises:
            ClusterError: A worker has no hadgeo or another version of it, or workers differ in their devices.
            DeviceError: A worker has no such device.
        """
        answers = self._client.run(_introduce, word, on_error="return")
        kinds = {}
        for address, answer in answers.items():
            if isinstance(answer, HadgeoError):
                raise DeviceError(f"worker {address}: {answer}")
            if isinstance(answer, BaseException):
                raise ClusterError(
                    f"worker {address}: {_first_line(answer)}; install hadgeo {__version__} in its environment"
                )
            if answer.version != __version__:
                raise ClusterError(
                    f"worker {address} on {answer.host} has hadgeo {answer.version}, but this is {__version__}; "
                    "install the same version on both"
                )
            kinds[answer.kind] = answer.host
        if len(kinds) > 1:
            told = " and ".join(f"{kind} on {host}" for kind, host in sorted(kinds.items()))
            raise ClusterError(f"the workers have different devices ({told}); choose one with --device")
        return torch.device(*kinds)

    def map(self, scorer: WindowScorer, windows: Sequence[Window], word: str) -> Generator[Scored]:
        """Score windows on the workers, a bounded number at a time.

        Args:
            scorer: What would score them here.
            windows: The windows.
            word: The device, as for `device`.

        Yields:
            What the scorer gives, in the order of the windows.

        Raises:
            CubeError: The scene is an array in memory, which no worker could open.
            ReadError: A worker cannot see the scene, or cannot read it.
            ClusterLostError: The scheduler is gone, no worker is left, or one window has ended several workers.
        """
        recipe = Recipe.of(scorer, word)
        # Not scattered: what is computed can be computed again where the worker that held it dies.
        remote = self._client.submit(RemoteScorer, recipe, pure=False)
        executor = self._client.get_executor(pure=False)
        yield from map_ahead(
            executor, _score, ((remote, window) for window in windows), 2 * self.threads + 1, wait=self._result
        )

    def _result(self, future: Future[Scored]) -> Scored:
        from distributed import KilledWorker

        while True:
            try:
                return future.result(LOST_TIMEOUT)
            except KilledWorker as error:
                raise ClusterLostError(
                    f"--cluster {self.where}: several workers died over one window, the last of them "
                    f"{error.last_worker.address}; did they run out of memory? try a smaller --memory"
                ) from None
            except concurrent.futures.CancelledError:
                raise self._lost("its scheduler no longer answers") from None
            except TimeoutError:
                if future.done():
                    raise
                if self._client.status != "running":
                    raise self._lost("its scheduler no longer answers") from None
                if not self._workers():
                    raise self._lost(f"no worker has been left for {LOST_TIMEOUT:.0f} s") from None

    def _lost(self, reason: str) -> ClusterLostError:
        return ClusterLostError(f"--cluster {self.where}: {reason}; restart it and continue with --resume")

    def _workers(self) -> dict[str, Any]:
        workers: dict[str, Any] = self._client.scheduler_info(n_workers=-1)["workers"]
        return workers


class Introduction(NamedTuple):
    """What a worker says of itself.

    Attributes:
        host: Name of its machine.
        version: Its version of hadgeo.
        kind: Type of the device that it would use.
    """

    host: str
    version: str
    kind: str


def _introduce(word: str) -> Introduction:
    return Introduction(socket.gethostname(), __version__, resolve_device(word).type)


@dataclass(frozen=True)
class Recipe:
    """All that a worker needs to score windows of one scene.

    Attributes:
        source: The cube, which is opened by its path.
        files: Absolute path and size in bytes of each of its files, as seen from here.
        bands: 0-based indices of the used bands.
        detector: The class of the detector.
        params: Its parameters.
        state: What it learned, on the CPU.
        device: The device, which each worker resolves for itself.
    """

    source: Source
    files: tuple[tuple[Path, int], ...]
    bands: tuple[int, ...]
    detector: type[Detector[Any]]
    params: Any
    state: dict[str, Tensor]
    device: str

    @classmethod
    def of(cls, scorer: WindowScorer, device: str) -> Recipe:
        """Describe a scorer.

        Raises:
            CubeError: Its scene is an array in memory.
        """
        source, detector = scorer.source, scorer.detector
        if source.is_array:
            raise CubeError(
                f"{source.path}: an array in memory, but the workers of a cluster open scenes by path; save it to a "
                "file"
            )
        files = tuple((file.absolute(), file.stat().st_size) for file in source.files if file.exists())
        state = {name: tensor.detach().cpu() for name, tensor in detector.state().items()}
        # What is decided here holds for all workers, whatever their hardware does best.
        params = detector.params
        if detector.precision_parameter is not None and detector.precision in ("bfloat16", "float32"):
            params = params.model_copy(update={detector.precision_parameter: detector.precision})
        return cls(source, files, scorer.bands, type(detector), params, state, device)


class RemoteScorer:
    """A scorer in a worker: made once a process, and used for all windows that come to it.

    Args:
        recipe: What to score.
    """

    def __init__(self, recipe: Recipe) -> None:
        self._recipe = recipe
        bound_cache(recipe.source.cache_bytes)
        device = resolve_device(recipe.device)
        detector = recipe.detector(recipe.params).load_state(recipe.state, device)
        self._scorer = WindowScorer(recipe.source, recipe.bands, detector, device)

    def __reduce__(self) -> tuple[type[RemoteScorer], tuple[Recipe]]:
        return RemoteScorer, (self._recipe,)

    def __call__(self, window: Window) -> Scored:
        """Score a window; see `WindowScorer`.

        Raises:
            ReadError: The scene is not there, is another one, or cannot be read.
        """
        host = socket.gethostname()
        for file, size in self._recipe.files:
            try:
                seen = file.stat().st_size
            except OSError as error:
                raise ReadError(
                    f"{file}: the worker on {host} cannot see it ({error.strerror}); "
                    "put it where all workers see it under this path, such as a shared folder"
                ) from None
            if seen != size:
                raise ReadError(f"{file}: the worker on {host} sees {seen} bytes of it, not {size}; copy it again")
        try:
            return self._scorer(window)
        except ReadError as error:
            told = f"worker on {host}: {error}"
        # Outside of the handler: dask sends what led to an error along with it, and GDAL's own cannot be sent.
        raise ReadError(told)


def _score(task: tuple[Any, Window]) -> Scored:
    """Run in a worker, where dask has put the scorer in the place of its future."""
    scorer, window = task
    scored: Scored = scorer(window)
    return scored


def _processes(cluster: Any) -> list[psutil.Process]:
    """The processes that a local cluster has begun."""
    found = []
    for nanny in cluster.workers.values():
        # One that has just died has no process any more.
        with suppress(AttributeError, psutil.NoSuchProcess, ValueError, TypeError):
            found.append(psutil.Process(nanny.process.pid))
    return found


def _first_line(error: BaseException) -> str:
    return str(error).strip().split("\n")[0] or type(error).__name__
