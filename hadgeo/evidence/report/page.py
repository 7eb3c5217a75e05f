"""The page as one file: styles, scripts, libraries and data inlined, and nothing that could reach a network."""

from __future__ import annotations

import base64
import hashlib
import os
import re
from collections.abc import Sequence
from importlib.resources import files
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from hadgeo import __version__
from hadgeo.errors import MissingExtraError
from hadgeo.files import check_output, write_whole

_STYLES = ("vendor/leaflet.css", "vendor/uPlot.css", "assets/page.css")
_SCRIPTS = (
    "vendor/leaflet.js",
    "vendor/uPlot.js",
    *(f"assets/{name}.js" for name in ("data", "verdicts", "spectrum", "map", "card", "table", "page")),
)
_LICENCES = {"Leaflet 1.9.4": "vendor/leaflet-LICENSE.txt", "uPlot 1.6.32": "vendor/uPlot-LICENSE.txt"}

#: Pictures that a style sheet names by file; the page uses none of them.
_LINKED = re.compile(r"url\((?!['\"]?data:)[^)]*\)")


def check_report(out: Path, inputs: Sequence[Path], *, overwrite: bool, option: str = "--report") -> None:
    """Refuse early what could not be written late.

    Args:
        out: The page.
        inputs: Files that are not replaced in any case.
        overwrite: Whether a file there may be replaced.
        option: What names the page on the command line.

    Raises:
        MissingExtraError: A library that the page needs is not installed.
        OutputError: It cannot be written there.
    """
    _environment()
    for library in ("pyogrio", "shapely"):
        if find_spec(library) is None:
            raise MissingExtraError(f'polygons need {library}; install it with pip install "hadgeo[vector]"')
    check_output(out, inputs=inputs, overwrite=overwrite, option=option)


def write_page(
    contents: Sequence[dict[str, Any]],
    out: str | os.PathLike[str],
    *,
    title: str | None = None,
    option: str = "--report",
) -> Path:
    """Write the page.

    Args:
        contents: What `hadgeo.evidence.report.content.content_of` says of each scene.
        out: The file; what is there is replaced.
        title: Title; the names of the scenes by default.
        option: What names the page on the command line.

    Raises:
        MissingExtraError: jinja2 is not installed.
        OutputError: It cannot be written.
    """
    names = [content["name"] for content in contents]
    told = title or (names[0] if len(names) == 1 else f"{len(names)} flight lines")
    styles, scripts = [_LINKED.sub("none", _asset(name)) for name in _STYLES], [_asset(name) for name in _SCRIPTS]
    text = (
        _environment()
        .get_template("report.html")
        .render(
            title=told,
            data={"title": told, "version": __version__, "lines": list(contents)},
            styles=styles,
            scripts=scripts,
            policy=_policy(styles, scripts),
            licences={name: _asset(path) for name, path in _LICENCES.items()},
            version=__version__,
        )
    )
    target = Path(out)
    # What is not UTF-8 in a name is shown as an escape.
    write_whole(target, text.encode("utf-8", "backslashreplace"), option)
    return target


def _environment() -> Any:
    try:
        import matplotlib  # noqa: F401 - encodes the pictures
        from jinja2 import Environment, PackageLoader, StrictUndefined
    except ImportError as error:
        raise MissingExtraError(
            f"the page needs jinja2 and matplotlib ({error.name} is missing); install them with pip install "
            '"hadgeo[report]"'
        ) from error
    environment = Environment(
        loader=PackageLoader("hadgeo.evidence.report"), autoescape=True, trim_blocks=True, undefined=StrictUndefined
    )
    # `tojson` escapes what could end a script; a NaN would not be JSON.
    environment.policies["json.dumps_kwargs"] = {"allow_nan": False, "separators": (",", ":")}
    return environment


def _asset(name: str) -> str:
    return files("hadgeo.evidence.report").joinpath(name).read_text(encoding="utf-8")


def _policy(styles: Sequence[str], scripts: Sequence[str]) -> str:
    """A content security policy under which these styles and scripts run, no others, and nothing is fetched."""
    allowed = {
        "default-src": "'none'",
        "img-src": "data: blob:",
        "style-src": " ".join(map(_hash, styles)),
        "script-src": " ".join(map(_hash, scripts)),
        "base-uri": "'none'",
        "form-action": "'none'",
    }
    return "; ".join(f"{name} {value}" for name, value in allowed.items())


def _hash(text: str) -> str:
    # Browsers normalise line endings before they hash.
    content = text.replace("\r\n", "\n").encode()
    return f"'sha256-{base64.b64encode(hashlib.sha256(content).digest()).decode('ascii')}'"
