"""How much memory a run may take: no more than the machine has, than its limits say, and than others leave of those."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from types import SimpleNamespace

import psutil
import pytest
from packaging.version import Version

import hadgeo
from hadgeo.compute.address_space import LIBRARY_ADDRESSES
from hadgeo.compute.memory import _PROCESS, _control_groups, _group_folders, _mounts, default_memory, machine_memory

OWN = psutil.Process().memory_info

#: Of the versions that hadgeo supports; those between were not looked at.
OLD_TORCH = Version(version("torch")).release < (2, 13)

linux = pytest.mark.skipif(sys.platform != "linux", reason="control groups are Linux's")


def test_a_machine_has_no_more_than_its_hardware() -> None:
    assert 2**24 < machine_memory() <= psutil.virtual_memory().total


@pytest.mark.parametrize(
    ("total", "on_cpu", "expected"),
    [
        (2 * 10**9, True, 5 * 10**8),
        (2 * 10**9, False, 5 * 10**8),
        (4 * 10**9, True, 10**9),
        (10**15, True, 10**9),
        (10**15, False, 3 * 10**9),
    ],
)
def test_a_quarter_of_the_machine_is_the_default_and_never_more_than_helps(
    total: int, on_cpu: bool, expected: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("hadgeo.compute.memory._control_groups", list)
    monkeypatch.setattr(psutil, "virtual_memory", lambda: SimpleNamespace(total=total))
    assert machine_memory() == total
    assert default_memory(on_cpu=on_cpu) == expected


def test_the_share_of_a_container_counts_where_it_is_less(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(psutil, "virtual_memory", lambda: SimpleNamespace(total=8 * 10**9))
    monkeypatch.setattr("hadgeo.compute.memory._control_groups", lambda: [2**63 - 4096, 3 * 10**9])
    assert machine_memory() == 3 * 10**9


Groups = Callable[..., list[int]]


@pytest.fixture
def groups(tmp_path: Path) -> Groups:
    """What groups leave to a process that is described as this, with groups in a folder whose name has a blank."""

    def left(cgroup: str, mounts: list[tuple[str, str, str, str]], files: dict[str, str | int]) -> list[int]:
        process, root = tmp_path / "proc", tmp_path / "cgroup fs"
        process.mkdir()
        (process / "cgroup").write_text(cgroup)
        lines = ["22 1 0:20 / /proc rw,nosuid - proc proc rw"]
        for path, folder, kind, options in mounts:
            (root / folder).mkdir(parents=True, exist_ok=True)
            place = str(root / folder).replace(" ", r"\040")
            lines.append(f"32 31 0:29 {path} {place} rw,relatime shared:9 - {kind} {kind} {options}")
        (process / "mountinfo").write_text("\n".join(lines) + "\n")
        for name, content in files.items():
            (root / name).parent.mkdir(parents=True, exist_ok=True)
            (root / name).write_text(f"{content}\n")
        return _control_groups(process)

    return left


V2 = [("/", "", "cgroup2", "rw,nsdelegate")]
V1 = [("/", "cpu", "cgroup", "rw,cpu,cpuacct"), ("/", "memory", "cgroup", "rw,memory")]


def test_all_groups_above_a_process_count(groups: Groups) -> None:
    files = {
        "a/b/c/memory.max": "max",
        "a/b/memory.max": 3 * 10**9,
        "a/b/memory.high": 2 * 10**9,
        "a/memory.max": 5 * 10**9,
        "memory.max": "max",
        "other/memory.max": 1,
    }
    assert sorted(groups("0::/a/b/c\n", V2, files)) == [2 * 10**9, 5 * 10**9]


def test_all_groups_of_the_first_version_count(groups: Groups) -> None:
    files = {
        "memory/jobs/7/memory.limit_in_bytes": 2**63 - 4096,
        "memory/jobs/memory.limit_in_bytes": 4 * 10**9,
        "memory/memory.limit_in_bytes": 2**63 - 4096,
        "cpu/jobs/7/memory.limit_in_bytes": 1,
        "cpu/jobs/memory.max": 1,
    }
    lines = "9:name=systemd:/x\n5:cpu,cpuacct:/jobs/7\n4:memory:/jobs/7\n0::/\n"
    assert min(groups(lines, V1, files)) == 4 * 10**9


def test_both_versions_at_once(groups: Groups) -> None:
    mounts = [*V1, ("/", "unified", "cgroup2", "rw")]
    files = {"memory/a/memory.limit_in_bytes": 4 * 10**9, "unified/b/memory.max": 3 * 10**9}
    assert sorted(groups("4:memory:/a\n0::/b\n", mounts, files)) == [3 * 10**9, 4 * 10**9]


@pytest.mark.parametrize("root", ["/docker/1234", "/", "/../.."])
def test_a_container_sees_its_own_group_as_the_root(root: str, groups: Groups) -> None:
    mounts = [(root, "memory", "cgroup", "rw,memory")]
    assert groups("4:memory:/docker/1234\n", mounts, {"memory/memory.limit_in_bytes": 10**9}) == [10**9]


@linux
@pytest.mark.parametrize(
    ("limit", "usage", "active", "inactive"),
    [
        ("memory.max", "memory.current", "active_file", "inactive_file"),
        ("memory.limit_in_bytes", "memory.usage_in_bytes", "total_active_file", "total_inactive_file"),
    ],
    ids=["v2", "v1"],
)
def test_what_others_hold_is_gone_and_pages_of_files_are_not(
    limit: str, usage: str, active: str, inactive: str, groups: Groups
) -> None:
    version = 2 if limit == "memory.max" else 1
    line, mounts = ("0::/a\n", V2) if version == 2 else ("4:memory:/a\n", V1[1:])
    at = "a" if version == 2 else "memory/a"
    stat = f"anon 1\n{active} {5 * 10**9}\n{inactive} {10**9}\n"
    files = {f"{at}/{limit}": 20 * 10**9, f"{at}/{usage}": 14 * 10**9, f"{at}/memory.stat": stat}
    (left,) = groups(line, mounts, files)
    own = OWN().rss - OWN().shared
    assert left == pytest.approx(12 * 10**9 + own, abs=2 * 10**8)


@pytest.mark.parametrize("line", ["", "0::", "nonsense", "4:memory", "0::/gone/for/good\n", "0::/../../etc"])
def test_what_cannot_be_read_limits_nothing(line: str, groups: Groups) -> None:
    assert groups(line, V2, {"memory.stat": "x\ny z\nactive_file -\n"}) == []


def hadgeo_under(limits: str, *words: str) -> subprocess.CompletedProcess[str]:
    """A run of the command line in a shell that has set limits."""
    command = shlex.join([sys.executable, "-m", "hadgeo", *words])
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    return subprocess.run(
        ["sh", "-c", f"{limits} && exec {command}"], capture_output=True, text=True, env=environment, timeout=300
    )


@pytest.fixture(scope="module")
def line(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("lines") / "line.img"
    hadgeo.simulate(path, rows=60, cols=50, bands=12, targets=4, seed=1)
    return path


def check_refused(done: subprocess.CompletedProcess[str], out: Path, said: str) -> None:
    assert done.returncode == 2, done.stderr
    assert re.fullmatch(f"hadgeo: error: .*{said}.*\n", done.stderr), done.stderr
    assert not list(out.parent.glob(f"{out.stem}*"))


@linux
@pytest.mark.parametrize("megabytes", [150, 300, 600, 900])
def test_a_limit_that_libraries_do_not_fit_is_said_before_they_are_loaded(
    megabytes: int, line: Path, tmp_path: Path
) -> None:
    done = hadgeo_under(f"ulimit -v {megabytes * 1000}", "detect", str(line), "-d", "rx", "-o", f"{tmp_path}/map.tif")
    check_refused(done, tmp_path / "map.tif", r"ulimit.*libraries alone take.*raise the limit")


@linux
@pytest.mark.skipif(OLD_TORCH, reason="older libraries run out of addresses before they can be asked")
def test_a_limit_of_addresses_that_is_too_small_for_a_run_is_seen_before_it(line: Path, tmp_path: Path) -> None:
    limit = f"ulimit -v {int(1.05 * LIBRARY_ADDRESSES / 1024)}"
    done = hadgeo_under(limit, "detect", str(line), "-d", "rx", "-o", f"{tmp_path}/map.tif", "-q")
    check_refused(done, tmp_path / "map.tif", r"a process may use \d+ MB; .*ulimit")


@linux
def test_a_limit_of_addresses_that_is_large_enough_is_kept_to(line: Path, tmp_path: Path) -> None:
    words = ("detect", str(line), "-d", "rx", "-o", f"{tmp_path}/map.tif", "-q")
    done = hadgeo_under(f"ulimit -v {8 * 10**6 + 10**6 * (os.cpu_count() or 1)}", *words)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "map.tif").is_file()


@linux
@pytest.mark.parametrize("megabytes", [400, 8000])
def test_a_run_in_a_control_group_is_refused_where_the_group_is_too_small(
    megabytes: int, line: Path, tmp_path: Path
) -> None:
    """The files of a group are real ones in the place of the system's, in a mount namespace of the run's own."""
    folders = {folder for _, folder, _ in _mounts(_PROCESS)}
    unshare = shutil.which("unshare")
    possible = unshare and folders and subprocess.run([unshare, "-m", "true"], capture_output=True).returncode == 0
    if not possible:
        pytest.skip("no control groups, or no permission for a mount namespace")
    group = tmp_path / "group"
    group.mkdir()
    for name in ("memory.max", "memory.limit_in_bytes"):
        (group / name).write_text(f"{megabytes * 10**6}\n")
    mounts = " && ".join(f"mount --bind {shlex.quote(str(group))} {shlex.quote(str(one))}" for one in folders)
    out = tmp_path / "map.tif"
    words = [sys.executable, "-m", "hadgeo", "detect", str(line), "-d", "rx", "-o", str(out), "-q"]
    done = subprocess.run(
        [unshare or "", "-m", "sh", "-c", f"{mounts} && exec {shlex.join(words)}"],
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
        timeout=300,
    )
    if megabytes > 1000:
        assert done.returncode == 0, done.stderr
        assert out.is_file()
    else:
        check_refused(done, out, r"a process may use 400 MB; .*container or batch system")


@linux
def test_this_process_is_in_groups_that_exist() -> None:
    for folder in _group_folders(_PROCESS):
        assert folder.is_dir()
