"""Build the plugin's release: write the schema of the installed hadgeo, and zip the plugin's folder.

python qgis_plugin/build.py dist
"""

from __future__ import annotations

import configparser
import json
import sys
import zipfile
from pathlib import Path

from hadgeo._version import __version__
from hadgeo.schema import describe

PLUGIN = Path(__file__).parent / "hadgeo_qgis"

#: The oldest time that a zip can hold: the same files give the same bytes.
EPOCH = (1980, 1, 1, 0, 0, 0)


def schema_text() -> str:
    """The schema as the plugin ships it, with hadgeo's own detectors alone; it asks the backend for others."""
    return json.dumps(describe(extensions=False), indent=2, ensure_ascii=False) + "\n"


def metadata_version() -> str:
    """The version that QGIS will show."""
    parser = configparser.ConfigParser(interpolation=None)
    parser.read(PLUGIN / "metadata.txt", encoding="utf-8")
    return parser["general"]["version"]


def build(folder: Path) -> Path:
    """Write ``hadgeo_qgis-X.Y.Z.zip`` into a folder."""
    if metadata_version() != __version__:
        sys.exit(f"metadata.txt says version {metadata_version()}, but hadgeo is {__version__}")
    (PLUGIN / "schema.json").write_text(schema_text(), encoding="utf-8")
    folder.mkdir(parents=True, exist_ok=True)
    release = folder / f"hadgeo_qgis-{__version__}.zip"
    with zipfile.ZipFile(release, "w", zipfile.ZIP_DEFLATED) as archive:
        for file in sorted(PLUGIN.rglob("*")):
            if file.is_file() and "__pycache__" not in file.parts:
                entry = zipfile.ZipInfo(str(file.relative_to(PLUGIN.parent)), EPOCH)
                entry.external_attr = 0o644 << 16
                archive.writestr(entry, file.read_bytes(), zipfile.ZIP_DEFLATED)
    return release


if __name__ == "__main__":
    print(build(Path(sys.argv[1] if len(sys.argv) > 1 else "dist")))
