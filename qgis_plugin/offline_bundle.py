"""Fill a folder with the plugin and every wheel that its set-up needs, for machines without a network.

python qgis_plugin/offline_bundle.py dist/offline-bundle [--torch cpu|cuda] [--torch-index ADDRESS]

There, the plugin is installed from the zip, and *Set up the backend* takes the folder `wheels` as *Folder of wheels*.
The wheels are for machines of the same system and with the same version of Python as that which runs this program.
"""

from __future__ import annotations

import argparse
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from build import PLUGIN, build

sys.path.insert(0, str(PLUGIN.parent))
from hadgeo_qgis import packages


def main() -> int:
    """Fill the folder, and say what it holds."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--torch", choices=["cpu", "cuda"], default="cpu", help="the build of torch")
    parser.add_argument("--torch-index", default="", help="where that build is, if not in the usual package index")
    asked = parser.parse_args()
    wheels = asked.folder / "wheels"
    shutil.rmtree(wheels, ignore_errors=True)
    wheels.mkdir(parents=True)
    release = build(asked.folder)
    with tempfile.TemporaryDirectory() as name:
        shutil.unpack_archive(release, name)
        carried = next(Path(name, PLUGIN.name, "wheels").glob("hadgeo-*.whl"))
        hadgeo = shutil.copy(carried, wheels / carried.name)
    wanted = [packages.torch_requirement(asked.torch), packages.with_extras(str(hadgeo.resolve()))]
    words = ["download", "--disable-pip-version-check", "--only-binary", ":all:", "--dest", str(wheels)]
    index = ["--extra-index-url", asked.torch_index] if asked.torch_index else []
    done = subprocess.run([sys.executable, "-m", "pip", *words, *index, *wanted], check=False)
    if done.returncode:
        print(
            f"\n{wheels} is not complete. If {wanted[0]} was not found, give --torch-index the address that torch's "
            "installation page names for it.",
            file=sys.stderr,
        )
        return 1
    found = list(wheels.glob("*.whl"))
    size = sum(file.stat().st_size for file in found) / 1e6
    python = ".".join(map(str, sys.version_info[:2]))
    print(f"{release}, and {len(found)} wheels ({size:.0f} MB) for {sys.platform} and Python {python} in {wheels}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
