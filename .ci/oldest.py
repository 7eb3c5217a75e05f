"""Write constraints-oldest.txt: every lower bound of pyproject.toml as the one version allowed, for `make test-oldest`.

python .ci/oldest.py            # writes the file
python .ci/oldest.py --check    # exits with 1 where the file is not what would be written

Bounds of the extras for work on hadgeo itself (`dev`, `docs`, `release`) are left out: that is done with
constraints.txt.
"""

from __future__ import annotations

import sys
import tomllib
from pathlib import Path

from packaging.requirements import Requirement
from packaging.version import Version

ROOT = Path(__file__).parents[1]
TARGET = ROOT / "constraints-oldest.txt"

#: Extras that nobody needs to use hadgeo.
TOOLS = {"dev", "docs", "release"}

HEADING = """\
# The oldest versions that hadgeo supports: the lower bounds of pyproject.toml, written by .ci/oldest.py.
# `make test-oldest` runs the tests with them.
"""


def lower_bounds() -> dict[str, Version]:
    """The lower bound of each package that a user of hadgeo may install; the highest where there are several."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    extras = (needed for name, needed in project["optional-dependencies"].items() if name not in TOOLS)
    bounds: dict[str, Version] = {}
    for text in sum(extras, start=project["dependencies"]):
        requirement = Requirement(text)
        lowest = [Version(bound.version) for bound in requirement.specifier if bound.operator == ">="]
        if len(lowest) != 1:
            sys.exit(f"pyproject.toml: {text!r} has no lower bound; write {requirement.name}>=VERSION")
        bounds[requirement.name] = max(lowest[0], bounds.get(requirement.name, lowest[0]))
    return bounds


def text() -> str:
    """The file."""
    return HEADING + "".join(f"{name}=={version}\n" for name, version in sorted(lower_bounds().items()))


def main() -> int:
    """Write it, or compare."""
    if "--check" not in sys.argv[1:]:
        TARGET.write_text(text(), encoding="utf-8")
        return 0
    if TARGET.is_file() and TARGET.read_text(encoding="utf-8") == text():
        return 0
    print(f"{TARGET.name} is not what pyproject.toml says; run python .ci/oldest.py", file=sys.stderr)
    return 1


if __name__ == "__main__":
    sys.exit(main())
