"""``hadgeo versions``: what a bug report needs to know of an installation."""

from __future__ import annotations

from typing import Any

import click

from hadgeo.cli import options, say
from hadgeo.cli.reporting import print_json


@click.command("versions")
@click.option("--json", "as_json", is_flag=True, help="Print the result as one JSON object.")
@options.debug
def command(as_json: bool) -> None:
    """Show the versions of hadgeo and its dependencies, the devices that can compute, and the detectors."""
    versions = _versions()
    if as_json:
        print_json(versions)
        return
    for name, value in versions.items():
        say(f"{name:>10}  {', '.join(value) if isinstance(value, list) else value}")


def _versions() -> dict[str, Any]:
    import platform
    import sys

    import numpy as np
    import rasterio
    import torch

    from hadgeo import __version__
    from hadgeo.compute.device import describe_device, resolve_device
    from hadgeo.detectors.registry import list_detectors

    names = ["cpu", *(f"cuda:{i}" for i in range(torch.cuda.device_count()))]
    if torch.backends.mps.is_available():
        names.append("mps")
    return {
        "hadgeo": __version__,
        "python": f"{platform.python_version()} ({sys.executable})",
        "system": platform.platform(),
        "torch": torch.__version__,
        "gdal": rasterio.__gdal_version__,
        "numpy": np.__version__,
        "devices": [describe_device(resolve_device(name)) for name in names],
        "detectors": list_detectors(),
    }
