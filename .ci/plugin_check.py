"""What plugins.qgis.org would refuse in the plugin's zip, one line for each: python .ci/plugin_check.py ZIP.

It follows what the site checks at an upload, but for requests to the addresses of the metadata.
"""

from __future__ import annotations

import configparser
import json
import re
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

#: The site's limit in bytes.
LARGEST = 25_000_000

REQUIRED = (
    "name", "description", "version", "qgisMinimumVersion", "author", "email", "about", "tracker", "repository",
    "homepage", "icon", "tags", "changelog",
)  # fmt: skip

#: What no plugin may contain.
REFUSED = {".pyc", ".pyo", ".exe", ".dll", ".so", ".dylib", ".sh", ".bat", ".cmd", ".com"}
HIDDEN = {"__MACOSX", ".git", "__pycache__"}

#: The only files that are no text.
BINARY = {".png", ".whl"}


def layout(archive: zipfile.ZipFile) -> Iterator[str]:
    """Names in the zip: one folder that is a Python identifier, and nothing that may not be there."""
    names = [PurePosixPath(name) for name in archive.namelist()]
    folders = sorted({name.parts[0] for name in names})
    if len(folders) != 1 or not folders[0].isidentifier():
        yield f"not one folder that is a Python identifier, but {', '.join(folders)}"
    for needed in ("__init__.py", "metadata.txt", "LICENSE"):
        if PurePosixPath(folders[0], needed) not in names:
            yield f"{needed} is missing"
    for name in names:
        if name.suffix.lower() in REFUSED or HIDDEN & set(name.parts) or ".." in str(name):
            yield f"{name} may not be in a plugin"
    if damaged := archive.testzip():
        yield f"{damaged} is damaged"


def binaries(archive: zipfile.ZipFile) -> Iterator[str]:
    """Files that are no text are icons and wheels, and what each wheel is stands beside it."""
    for name in map(PurePosixPath, archive.namelist()):
        if name.suffix not in BINARY:
            try:
                archive.read(str(name)).decode("utf-8")
            except UnicodeDecodeError:
                yield f"{name} is neither text nor an icon nor a wheel"
        elif name.suffix == ".whl":
            explained = PurePosixPath(name.parent, "README.txt")
            if str(explained) not in archive.namelist() or name.name not in archive.read(str(explained)).decode():
                yield f"{name} is not explained in {explained}"


def metadata(archive: zipfile.ZipFile) -> Iterator[str]:
    """The metadata are complete and can be read as the site reads them."""
    folder = archive.namelist()[0].split("/")[0]
    # The site interpolates, so that a % would have to be doubled.
    parser = configparser.ConfigParser()
    parser.optionxform = str  # type: ignore[assignment, method-assign]
    try:
        parser.read_string(archive.read(f"{folder}/metadata.txt").decode("utf-8"))
        general = dict(parser.items("general"))
    except (configparser.Error, UnicodeDecodeError) as error:
        yield f"metadata.txt cannot be read: {str(error).splitlines()[0]}"
        return
    yield from (f"metadata.txt has no {key}" for key in REQUIRED if not general.get(key, "").strip())
    if f"{folder}/{general.get('icon')}" not in archive.namelist():
        yield f"the icon {general.get('icon')} is missing"
    if "/" in general.get("author", "") or re.search("plugin|qgis", general.get("name", ""), flags=re.IGNORECASE):
        yield "author has a slash, or name says what is known: that it is a plugin for QGIS"
    for key in ("tracker", "repository", "homepage"):
        if not re.fullmatch(r"https?://[^\s/]+\S*", general.get(key, "")):
            yield f"{key} is no address: {general.get(key)}"


def scanners(folder: Path) -> Iterator[str]:
    """Bandit and detect-secrets find nothing."""
    if missing := [tool for tool in ("bandit", "detect-secrets") if not _program(tool).is_file()]:
        yield f"not scanned, as {' and '.join(missing)} are not installed (make release-check installs them)"
        return
    for result in _report("bandit", ["-r", ".", "-f", "json", "--quiet"], folder).get("results", []):
        yield f"bandit: {result['test_id']} {result['filename']}:{result['line_number']}: {result['issue_text']}"
    words = ["scan", "--all-files", "--exclude-files", r"metadata\.txt", "."]
    for name, found in _report("detect-secrets", words, folder).get("results", {}).items():
        yield from (f"detect-secrets: {name}:{one['line_number']}: {one['type']}" for one in found)


def _program(tool: str) -> Path:
    return Path(sys.executable).parent / tool


def _report(tool: str, words: list[str], folder: Path) -> dict:
    done = subprocess.run([str(_program(tool)), *words], cwd=folder, capture_output=True, text=True, check=False)
    return json.loads(done.stdout)


def problems(file: Path) -> Iterator[str]:
    """Everything that would be refused; a file that is too large is not looked into."""
    if file.stat().st_size > LARGEST:
        yield f"{file.stat().st_size / 1e6:.1f} MB are more than {LARGEST / 1e6:.0f}"
        return
    with zipfile.ZipFile(file) as archive, tempfile.TemporaryDirectory() as name:
        for check in (layout, binaries, metadata):
            yield from check(archive)
        archive.extractall(name)
        yield from scanners(Path(name))


def main() -> int:
    """Print them."""
    file = Path(sys.argv[1])
    found = [f"{file.name}: {line}" for line in problems(file)]
    print("\n".join(found) or f"{file.name} has nothing that plugins.qgis.org would refuse")
    return bool(found)


if __name__ == "__main__":
    sys.exit(main())
