"""What the backend consists of: hadgeo, its extras, and the build of torch. Neither Qt nor QGIS is imported here."""

from __future__ import annotations

import os
import re
import shutil
import subprocess  # nosec B404: asks the driver of NVIDIA for its GPUs
import sys
from pathlib import Path

from .backend import BackendError

#: What the algorithms need beyond hadgeo itself: they read MATLAB 7.3, HDF5 and Zarr, write polygons and draw reports.
EXTRAS = ("hdf5", "report", "vector", "zarr")

#: Where the plugin carries the wheels of hadgeo and of pip.
CARRIED = Path(__file__).parent / "wheels"

#: Overrides which hadgeo is installed: another version, a wheel or a folder.
VARIABLE = "HADGEO_PACKAGE"

#: The version of torch that is installed.
TORCH_VERSION = "2.13.0"

#: The builds of torch that a user can ask for.
TORCH = ("auto", "cpu", "cuda")

#: What a build costs: megabytes to download, gigabytes of disk while it is set up.
COSTS = {"cpu": (450, 2.5), "cuda": (3000, 10.0)}


def carried(name: str) -> Path | None:
    """The wheel of a package that the plugin carries; None in a checkout, whose plugin was not built.

    Args:
        name: The package, "hadgeo" or "pip".
    """
    return next(iter(sorted(CARRIED.glob(f"{name}-*.whl"))), None)


def default_package() -> str:
    """What is installed unless the user says otherwise: the wheel that the plugin carries."""
    return os.environ.get(VARIABLE, "").strip() or str(carried("hadgeo") or "hadgeo")


def with_extras(package: str) -> str:
    """A requirement with the extras that the algorithms need, besides those that it names.

    Args:
        package: A name with or without version, the absolute path of a wheel or a folder, or an address.
    """
    if Path(package).is_absolute():
        return f"{package}[{','.join(EXTRAS)}]"
    if "://" in package and "@" not in package.partition("://")[0]:
        return f"hadgeo[{','.join(EXTRAS)}] @ {package}"
    parts = re.match(
        r"(?P<name>.*?[\w.])\s*(\[(?P<extras>[\w\s,.-]*)\])?\s*(?P<rest>([<>=!~@;].*)?)$", package, flags=re.DOTALL
    )
    if not parts:
        return package
    named = [extra.strip() for extra in (parts["extras"] or "").split(",") if extra.strip()]
    listed = ",".join(sorted({*named, *EXTRAS}))
    space = " " if parts["rest"].startswith("@") else ""
    return f"{parts['name']}[{listed}]{space}{parts['rest']}"


def has_nvidia() -> bool:
    """Whether a driver of NVIDIA answers for a GPU of this machine."""
    program = shutil.which("nvidia-smi")
    if sys.platform == "darwin" or program is None:
        return False
    try:
        done = subprocess.run([program, "-L"], capture_output=True, text=True, timeout=30)  # nosec B603: lists GPUs
    except (OSError, subprocess.TimeoutExpired):
        return False
    return done.returncode == 0 and "GPU " in done.stdout


def build_of_torch(asked: str) -> tuple[str, str]:
    """The build of torch for this machine, and why.

    Args:
        asked: "auto", "cpu" or "cuda".

    Returns:
        "cpu" or "cuda", and a clause for the log.

    Raises:
        BackendError: A build for CUDA was asked for on a machine that has no GPU for it.
    """
    if asked == "cpu":
        return "cpu", "as you chose"
    if has_nvidia():
        return "cuda", "as this machine has a GPU of NVIDIA" if asked == "auto" else "as you chose"
    if asked == "cuda":
        raise BackendError(
            "no driver of NVIDIA answers for a GPU on this machine (nvidia-smi -L), and the build for CUDA is "
            "gigabytes that would not be used: choose auto or cpu, or install the driver first"
        )
    return "cpu", "as no GPU of NVIDIA was found"


def torch_requirement(build: str, platform: str = sys.platform) -> str:
    """What pip is asked for.

    Elsewhere than on Linux the package index has builds for CPUs under the plain version. On Linux the plain version is
    that for CUDA, so the requirement names the build: pip then never takes another.

    Args:
        build: "cpu" or "cuda".
        platform: As `sys.platform` names it.
    """
    return (
        f"torch=={TORCH_VERSION}+cpu" if build == "cpu" and platform.startswith("linux") else f"torch=={TORCH_VERSION}"
    )


def costs(build: str, offline: bool = False) -> str:
    """What a set-up will take, in words.

    Args:
        build: "cpu" or "cuda".
        offline: Whether nothing is downloaded.
    """
    megabytes, gigabytes = COSTS[build]
    unpacked = f"{gigabytes:g} GB of disk, and one or two minutes to unpack"
    if offline:
        return f"about {unpacked}"
    minutes = max(1, round(megabytes * 8 / 50 / 60))
    return f"about {_size(megabytes)} to download (some {minutes} min at 50 Mbit/s), {unpacked}"


def _size(megabytes: int) -> str:
    return f"{megabytes} MB" if megabytes < 1000 else f"{megabytes / 1000:.1f} GB"


def to_download() -> str:
    """The size of a set-up for CPUs, in words."""
    return _size(COSTS["cpu"][0])


def in_short() -> str:
    """What a set-up will take, whichever build it is, in a few words."""
    (less, small), (more, large) = COSTS["cpu"], COSTS["cuda"]
    return f"{_size(less)} to download and {small:g} GB of disk; with a GPU of NVIDIA {_size(more)} and {large:g} GB"
