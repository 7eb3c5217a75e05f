"""Build the plugin's release: write the schema of the installed hadgeo, and zip the plugin's folder with two wheels.

python qgis_plugin/build.py dist

The wheels are all that is no text in it besides an icon: hadgeo's, built from this checkout, so that plugin and backend
are always of one release; and pip's, as released, because Pythons of Debian and of QGIS may come without it.
"""

from __future__ import annotations

import configparser
import hashlib
import json
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

from hadgeo._version import __version__
from hadgeo.schema import describe

ROOT = Path(__file__).parents[1]
PLUGIN = Path(__file__).parent / "hadgeo_qgis"

#: The oldest time that a zip can hold: the same files give the same bytes.
EPOCH = (1980, 1, 1, 0, 0, 0)

#: The pip that the plugin carries, which runs on Python 3.9 to 3.14, and its SHA-256.
PIP = "25.3"
PIP_HASH = "9655943313a94722b7774661c21049070f6bbb0a1516bf02f7c8d5d9201514cd"

#: Where what was downloaded is kept.
CACHE = ROOT / "build" / "wheels"


def schema_text() -> str:
    """The schema as the plugin ships it, with hadgeo's own detectors alone; it asks the backend for others."""
    return json.dumps(describe(extensions=False), indent=2, ensure_ascii=False) + "\n"


def metadata_version() -> str:
    """The version that QGIS will show."""
    parser = configparser.ConfigParser(interpolation=None)
    parser.read(PLUGIN / "metadata.txt", encoding="utf-8")
    return parser["general"]["version"]


def hadgeo_wheel(folder: Path) -> Path:
    """Build the wheel of this checkout into a folder."""
    words = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(folder)]
    done = subprocess.run(words, cwd=ROOT, capture_output=True, text=True, check=False)
    if done.returncode:
        sys.exit(
            f"the wheel of hadgeo cannot be built: {(done.stderr.strip() or done.stdout.strip()).splitlines()[-1]}"
        )
    return next(folder.glob("hadgeo-*.whl"))


def pip_wheel() -> Path:
    """The wheel of pip, downloaded once."""
    file = CACHE / f"pip-{PIP}-py3-none-any.whl"
    if not _is_pip(file):
        words = ["download", "--quiet", "--disable-pip-version-check", "--no-deps", "--dest", str(CACHE), f"pip=={PIP}"]
        done = subprocess.run([sys.executable, "-m", "pip", *words], capture_output=True, text=True, check=False)
        if done.returncode:
            sys.exit(
                f"pip {PIP}, which the plugin carries, cannot be downloaded: {done.stderr.strip().splitlines()[-1]}"
            )
        if not _is_pip(file):
            sys.exit(f"{file} is not the pip {PIP} that its project has released: remove it")
    return file


def _is_pip(file: Path) -> bool:
    return file.is_file() and hashlib.sha256(file.read_bytes()).hexdigest() == PIP_HASH


def explanation(wheels: list[Path]) -> str:
    """What stands beside the wheels, for whoever looks into the zip.

    Args:
        wheels: The files.
    """
    lines = [f"{file.name}\n    SHA-256 {hashlib.sha256(file.read_bytes()).hexdigest()}\n" for file in wheels]
    return (
        "These wheels are zip archives of Python packages. QGIS never loads them: 'Set up the backend' installs them\n"
        "into an environment of their own.\n\n"
        "hadgeo is what computes. Its wheel was built from the same source as this plugin; its licences are in it.\n"
        "\n"
        "pip is what installs it, as its project has released it (MIT): the Python of a system may come without one.\n"
        "The programs for Windows in it are distlib's launchers, which pip puts before scripts.\n\n" + "".join(lines)
    )


def build(folder: Path) -> Path:
    """Write ``hadgeo_qgis-X.Y.Z.zip`` into a folder."""
    if metadata_version() != __version__:
        sys.exit(f"metadata.txt says version {metadata_version()}, but hadgeo is {__version__}")
    (PLUGIN / "schema.json").write_text(schema_text(), encoding="utf-8")
    folder.mkdir(parents=True, exist_ok=True)
    release = folder / f"hadgeo_qgis-{__version__}.zip"
    with tempfile.TemporaryDirectory() as name:
        wheels = [hadgeo_wheel(Path(name)), pip_wheel()]
        files = {
            file.relative_to(PLUGIN.parent): file.read_bytes()
            for file in PLUGIN.rglob("*")
            if file.is_file() and file.suffix != ".pyc" and "wheels" not in file.parts
        }
        files.update({Path(PLUGIN.name, "wheels", file.name): file.read_bytes() for file in wheels})
        files[Path(PLUGIN.name, "wheels", "README.txt")] = explanation(wheels).encode()
        with zipfile.ZipFile(release, "w", zipfile.ZIP_DEFLATED) as archive:
            for place in sorted(files):
                entry = zipfile.ZipInfo(place.as_posix(), EPOCH)
                entry.external_attr = 0o644 << 16
                archive.writestr(entry, files[place], zipfile.ZIP_DEFLATED)
    return release


if __name__ == "__main__":
    print(build(Path(sys.argv[1] if len(sys.argv) > 1 else "dist")))
