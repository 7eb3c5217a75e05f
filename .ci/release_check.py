"""What a release needs, one line for each: `make release-check`. Exits with 1 while something is missing.

Nothing is published or changed. The list is also what a release consists of; CONTRIBUTING.md says in which order.
"""

from __future__ import annotations

import re
import subprocess
import sys
import tarfile
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import plugin_check
from stamp import ROOT, outdated, version

#: Files that users see, and that name people and addresses.
NAMING = (
    "pyproject.toml",
    "CITATION.cff",
    "README.md",
    "packaging/conda/recipe.yaml",
    "qgis_plugin/hadgeo_qgis/metadata.txt",
)


def run(*command: str, cwd: Path = ROOT) -> list[str]:
    """Nothing where a command succeeds, otherwise the last line that it printed."""
    done = subprocess.run(command, cwd=cwd, capture_output=True, text=True, check=False)
    said = (done.stdout + done.stderr).strip().splitlines() or [f"exit status {done.returncode}"]
    return [f"{' '.join(command[:3])}: {said[-1]}"] if done.returncode else []


def tool(name: str) -> str:
    """A program of this Python's environment."""
    return str(Path(sys.executable).parent / name)


def versions() -> Iterator[str]:
    """Version, authors and addresses are the same in every file."""
    for path in outdated():
        yield f"{path.relative_to(ROOT)} is outdated; run `make stamp`"


def placeholders() -> Iterator[str]:
    """People and addresses are real."""
    for name in NAMING:
        marked = re.findall(r"[^\s\"=]*[/@]\S*\.example\b[^\s\"]*", (ROOT / name).read_text(encoding="utf-8"))
        if marked:
            yield f"{name} has placeholders: {', '.join(marked)}"


def changelog() -> Iterator[str]:
    """CHANGELOG.md has this version with its date, and nothing waits above it."""
    text = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    if not re.search(rf"^## {re.escape(version())} - \d{{4}}-\d\d-\d\d$", text, flags=re.MULTILINE):
        yield f"CHANGELOG.md has no line '## {version()} - YYYY-MM-DD'"
    waiting = re.split(r"^## ", text, flags=re.MULTILINE)[1]
    if waiting.startswith("Unreleased") and (entries := len(re.findall(r"^- ", waiting, flags=re.MULTILINE))):
        yield f"CHANGELOG.md: {entries} entries are under 'Unreleased'; move them below the version that they belong to"


def commits() -> Iterator[str]:
    """Everything is committed, and no other commit has the version's tag."""
    if subprocess.check_output(["git", "status", "--porcelain"], cwd=ROOT, text=True).strip():
        yield "there are changes that are not committed"
    tags = subprocess.check_output(["git", "tag", "--points-at", "HEAD"], cwd=ROOT, text=True).split()
    every = subprocess.check_output(["git", "tag"], cwd=ROOT, text=True).split()
    if f"v{version()}" in every and f"v{version()}" not in tags:
        yield f"the tag v{version()} is on another commit: choose a new version"


def oldest() -> Iterator[str]:
    """constraints-oldest.txt has the lower bounds of pyproject.toml."""
    yield from run(sys.executable, ".ci/oldest.py", "--check")


def distributions() -> Iterator[str]:
    """Wheel and sdist can be built and uploaded, and the sdist builds the same wheel."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        if problem := run(sys.executable, "-m", "hatchling", "build", "-d", name):
            yield from problem
            return
        (wheel,), (sdist,) = folder.glob("*.whl"), folder.glob("*.tar.gz")
        yield from run(tool("twine"), "check", "--strict", str(wheel), str(sdist))
        yield from run(tool("check-wheel-contents"), str(wheel))
        with tarfile.open(sdist) as archive:
            archive.extractall(folder, filter="data")
        unpacked = folder / sdist.name.removesuffix(".tar.gz")
        yield from run(sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", "again", cwd=unpacked)
        if (unpacked / "again" / wheel.name).read_bytes() != wheel.read_bytes():
            yield "the wheel that the sdist builds is another one"


def plugin() -> Iterator[str]:
    """The plugin for QGIS has the schema of this hadgeo, can be built, and has nothing that its site would refuse."""
    schema = ROOT / "qgis_plugin" / "hadgeo_qgis" / "schema.json"
    with tempfile.TemporaryDirectory() as name:
        before = schema.read_bytes()
        yield from run(sys.executable, "qgis_plugin/build.py", name)
        if schema.read_bytes() != before:
            schema.write_bytes(before)
            yield "schema.json is outdated; run `make plugin` and commit it"
        for archive in Path(name).glob("*.zip"):
            yield from (f"{archive.name}: {line}" for line in plugin_check.problems(archive))


def recipe() -> Iterator[str]:
    """The recipe for conda renders."""
    from rattler_build import RattlerBuildError, Stage0Recipe

    try:
        (variant,) = Stage0Recipe.from_file(ROOT / "packaging" / "conda" / "recipe.yaml").render()
    except RattlerBuildError as error:
        yield f"packaging/conda/recipe.yaml: {error}"
        return
    if variant.recipe.to_dict()["package"]["version"] != version():
        yield "packaging/conda/recipe.yaml renders another version"


def dockerfile() -> Iterator[str]:
    """The Dockerfile has nothing that hadolint minds."""
    yield from run(tool("hadolint"), "packaging/Dockerfile")


def docs() -> Iterator[str]:
    """The site of the documentation builds without a warning."""
    with tempfile.TemporaryDirectory() as name:
        yield from run(sys.executable, "-m", "mkdocs", "build", "--strict", "--quiet", "--site-dir", name)


CHECKS: tuple[Callable[[], Iterator[str]], ...] = (
    versions, placeholders, changelog, commits, oldest, distributions, plugin, recipe, dockerfile, docs,
)  # fmt: skip


def main() -> int:
    """Run them all, also after one that fails."""
    missing = 0
    for check in CHECKS:
        problems = list(check())
        missing += len(problems)
        for line in problems or [str(check.__doc__)]:
            print(f"{'missing' if problems else 'ok':8} {line}")
    print(f"{missing} things are missing" if missing else f"hadgeo {version()} can be released")
    return bool(missing)


if __name__ == "__main__":
    sys.exit(main())
