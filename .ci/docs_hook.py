"""What mkdocs does besides for the documentation's site: pages made from the code, and links that lead out of docs/.

The pages in docs/ are written for plain Git hosting, where they link to files of the repository. On the site such a
link leads to the repository, unless its address is a placeholder; then its text stays.
"""

from __future__ import annotations

import json
import posixpath
import re
import textwrap
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click

from hadgeo import cli
from hadgeo._version import __version__
from hadgeo.detectors.registry import allowed_values, detector_class, list_detectors, parameter_fields

ROOT = Path(__file__).parents[1]
REPOSITORY: str = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["urls"]["Repository"]
PUBLISHED = ".example" not in REPOSITORY

#: Code in a text, and whatever could end a cell of a table or be taken for something else than text.
CODE, SPECIAL = re.compile(r"(`[^`]+`)"), re.compile(r"[\\*_<\[\]|#{}]")


def on_config(config: Any) -> Any:
    """Name the version, and the repository where there is one."""
    config["site_description"] += f", version {__version__}"
    config["copyright"] = f"hadgeo {__version__}, Apache-2.0"
    if PUBLISHED:
        config["repo_url"] = REPOSITORY
    return config


def on_page_markdown(markdown: str, *, page: Any, **_: Any) -> str:
    """Fill in what is made from the code, and turn links out of docs/."""
    for mark, made in MADE.items():
        if mark in markdown:
            markdown = markdown.replace(mark, "\n".join(made()))
    folder = posixpath.dirname(page.file.src_uri)
    return re.sub(r"\[([^]]+)\]\(((?:\.\./)[^)#]*)\)", lambda link: outward(link, folder), markdown)


def outward(link: re.Match[str], folder: str) -> str:
    """A link to the repository instead of one out of docs/; the text alone where the repository has no address yet."""
    target = posixpath.normpath(posixpath.join("docs", folder, link[2]))
    if target.startswith("docs/"):
        return link[0]
    return f"[{link[1]}]({REPOSITORY}/blob/v{__version__}/{target})" if PUBLISHED else link[1]


def detector_tables() -> Iterator[str]:
    """A section for each detector, with a table of its parameters."""
    for name in list_detectors():
        cls = detector_class(name)
        yield f"\n## {name}\n\n{plain(cls.title)}. Best at {plain(cls.best_at)}.\n"
        if cls.fitted_by:
            yield f'Fitting needs `pip install "hadgeo[{cls.fitted_by}]"`.\n'
        for preset, values in cls.presets.items():
            told = ", ".join(cell(f"{key}={value}") for key, value in values.items())
            yield f"- `--preset {preset}`: {told}"
        yield "\n| parameter | default | values | what it is |\n|---|---|---|---|"
        for key, field in parameter_fields(cls).items():
            default, told = json.dumps(field.get("default")), plain(field["description"])
            yield f"| {cell(key)} | {cell(default)} | {plain(allowed_values(field))} | {told} |"


def command_tables() -> Iterator[str]:
    """A section for each command, with its help and a table of its options."""
    group = click.Context(cli.cli, info_name="hadgeo")
    for name in cli.cli.list_commands(group):
        command = cli.cli.get_command(group, name)
        assert command is not None
        context = click.Context(command, info_name=name, parent=group)
        inner = sorted(command.commands.values(), key=lambda c: str(c.name)) if isinstance(command, click.Group) else ()
        for one in (context, *(click.Context(c, info_name=c.name, parent=context) for c in inner)):
            yield from command_table(one)


def command_table(context: click.Context) -> Iterator[str]:
    """The section of one command."""
    command = context.command
    yield f"\n## {context.command_path}\n"
    yield f"```\n{' '.join([context.command_path, *command.collect_usage_pieces(context)])}\n```\n"
    for paragraph in (command.help or "").split("\n\n"):
        # A paragraph that begins with click's mark keeps its lines.
        before, mark, lines = paragraph.partition("\b\n")
        yield f"```\n{textwrap.dedent(lines)}\n```\n" if mark else f"{plain(before)}\n"
    yield "| option | what it does |\n|---|---|"
    for option in command.get_params(context):
        if (record := option.get_help_record(context)) and record[1]:
            names = " <br> ".join(f"`{part.strip()}`" for part in record[0].split(", -"))
            yield f"| {names.replace('<br> `', '<br> `-')} | {plain(record[1])} |"


def cell(text: str) -> str:
    """Code in a cell of a table."""
    return f"`{text}`".replace("|", "\\|")


def plain(text: str) -> str:
    """Text of which only code in backticks is marked up, and that can stand in a cell of a table."""
    parts = CODE.split(" ".join(text.split()))
    return "".join(cell(p.strip("`")) if CODE.fullmatch(p) else SPECIAL.sub(r"\\\g<0>", p) for p in parts)


def real_scenes() -> Iterator[str]:
    """Pictures of real scenes that were drawn on this machine; git has none of them."""
    for picture in sorted((ROOT / "docs" / "images" / "gallery" / "real").glob("*.webp")):
        yield f"![{picture.stem}](images/gallery/real/{picture.name})\n\n*{plain(picture.stem)}*\n"


#: What stands in a page for something made from the code.
MADE = {
    "<!-- detectors -->": detector_tables,
    "<!-- commands -->": command_tables,
    "<!-- real scenes -->": real_scenes,
}
