"""Write the version, the authors and the addresses wherever they have to stand besides their one place.

python .ci/stamp.py            # writes
python .ci/stamp.py --check    # says what would be written elsewhere, and exits with 1

The one place of the version is hadgeo/_version.py, that of addresses and authors pyproject.toml.
"""

from __future__ import annotations

import re
import sys
import tomllib
from pathlib import Path

ROOT = Path(__file__).parents[1]


def version() -> str:
    """The version of hadgeo, without importing it."""
    text = (ROOT / "hadgeo" / "_version.py").read_text(encoding="utf-8")
    return re.findall(r'^__version__ = "(.+)"$', text, flags=re.MULTILINE)[0]


def stamps() -> dict[str, dict[str, str]]:
    """What follows which words at the beginning of a line, for each file."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    urls, (author, *_) = project["urls"], project["authors"]
    return {
        "CITATION.cff": {"version: ": version(), "url: ": urls["Homepage"], "repository-code: ": urls["Repository"]},
        "packaging/conda/recipe.yaml": {
            '  version: "': f'{version()}"',
            "  homepage: ": urls["Homepage"],
            "  repository: ": urls["Repository"],
            "  documentation: ": urls["Documentation"],
        },
        "qgis_plugin/hadgeo_qgis/metadata.txt": {
            "version=": version(),
            "author=": author["name"],
            "email=": author["email"],
            "homepage=": urls["Homepage"],
            "repository=": urls["Repository"],
            "tracker=": urls["Issues"],
        },
    }


def stamped(text: str, values: dict[str, str]) -> str:
    """A file's text with each value after its words."""
    for words, value in values.items():
        text, count = re.subn(rf"^{re.escape(words)}.*$", lambda _: words + value, text, flags=re.MULTILINE)  # noqa: B023
        if count != 1:
            sys.exit(f"{count} lines begin with {words!r}, not one")
    return text


def outdated() -> dict[Path, str]:
    """Files that say something else, and what they should say."""
    found = {}
    for name, values in stamps().items():
        text = (ROOT / name).read_text(encoding="utf-8")
        if (right := stamped(text, values)) != text:
            found[ROOT / name] = right
    return found


def main() -> int:
    """Write, or compare."""
    if "--check" not in sys.argv[1:]:
        for path, text in outdated().items():
            path.write_text(text, encoding="utf-8")
        return 0
    for path in outdated():
        print(
            f"{path.relative_to(ROOT)} differs from hadgeo/_version.py or pyproject.toml; run `make stamp`",
            file=sys.stderr,
        )
    return bool(outdated())


if __name__ == "__main__":
    sys.exit(main())
