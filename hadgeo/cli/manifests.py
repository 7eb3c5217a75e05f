"""What `detect`, `match`, `train` and `threshold` write down of a run, and how `detect --from` repeats one."""

from __future__ import annotations

import json
import shlex
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from click.core import ParameterSource

from hadgeo.errors import CubeError, OutputError

if TYPE_CHECKING:
    from hadgeo.progress import Progress
    from hadgeo.run.manifest import Manifest

#: Options that change nothing of what is written.
_MANNERS = {"overwrite", "resume", "quiet", "progress", "as_json", "repeats", "cluster"}

#: Options that name files, which are written down in full.
_FILES = {"output", "model", "scene", "scores", "polygons", "p_values", "evidence", "spectra", "mask", "glt", "igm"}
_FILES |= {"background", "exclude", "suppressed_mask", "spectrum", "like", "verdicts", "suppress_like", "report"}

#: Options that name what a run writes.
_OUTPUTS = ("output", "polygons", "p_values", "evidence", "spectra", "suppressed_mask", "report")


def check(context: click.Context, output: Path, option: str = "-o") -> None:
    """Refuse early a manifest that cannot be written, or would replace another file; see `hadgeo.run.manifest`."""
    from hadgeo.run.manifest import check_manifest

    if output.name:
        check_manifest(output, context.command.name or "", overwrite=context.params["overwrite"], option=option)


def write(
    context: click.Context,
    beside: Path,
    *,
    inputs: Iterable[Path],
    outputs: Iterable[Path],
    facts: Mapping[str, Any],
    seconds: Mapping[str, float],
    pixels: int,
    **resolved: Any,
) -> Manifest:
    """Write down a run that has just ended.

    Args:
        context: The command's, for the options that were given.
        beside: Its first output.
        inputs: Files that it read.
        outputs: Files and folders that it wrote.
        facts: What it found out.
        seconds: Wall time of each stage.
        pixels: Pixels that have a score.
        resolved: Options as they turned out, such as the name of the map.
    """
    from hadgeo.files import writing
    from hadgeo.run.manifest import make_manifest, manifest_path, write_manifest

    path = manifest_path(beside)
    # What it describes may be gone by now.
    with writing(path):
        files = [part for out in outputs for part in (sorted(out.iterdir()) if out.is_dir() else [out])]
        manifest = make_manifest(
            context.command.name or "",
            options=_options(context, resolved),
            inputs=inputs,
            outputs=files,
            facts=facts,
            seconds=seconds,
            valid=pixels,
        )
    write_manifest(manifest, path)
    return manifest


def input_sizes(output: Path) -> frozenset[int]:
    """Bytes of the files that an output was made from; none where no manifest beside it tells."""
    from hadgeo.run.manifest import manifest_path, read_manifest

    try:
        manifest = read_manifest(manifest_path(output))
    except CubeError:
        return frozenset()
    wrote_it = any(Path(record.path).name == output.name for record in manifest.outputs)
    return frozenset(record.bytes for record in manifest.inputs if wrote_it)


def is_finished(context: click.Context, beside: Path, **resolved: Any) -> bool:
    """Whether an earlier run with these options came to its end, and all that it read and wrote is as it was then.

    Args:
        context: As for `write`.
        beside: As for `write`.
        resolved: As for `write`.
    """
    from hadgeo import __version__
    from hadgeo.run.manifest import manifest_path, read_manifest

    try:
        manifest, _ = read_manifest(manifest_path(beside)), beside.stat()
    except (CubeError, OSError):
        return False
    return (
        manifest.command == context.command.name
        and manifest.versions.get("hadgeo") == __version__
        and manifest.options == json.loads(json.dumps(_options(context, resolved)))
        and not manifest.changed_inputs()
        and not manifest.changed_outputs()
    )


def _options(context: click.Context, resolved: Mapping[str, Any]) -> dict[str, Any]:
    """The options that were given, and those that turned out, as they are written down."""
    given = {k: v for k, v in context.params.items() if context.get_parameter_source(k) is not ParameterSource.DEFAULT}
    options = {name: value for name, value in {**given, **resolved}.items() if name not in _MANNERS}
    return {name: in_full(value) if name in _FILES else value for name, value in options.items()}


def restore(context: click.Context, path: str) -> Manifest:
    """Give a command the options of an earlier run, where the user gave none.

    A file may come from anybody, so it decides neither that something may be replaced nor that something is written
    elsewhere than beside it.

    Raises:
        CubeError: The file is no manifest, or of another command, or what was read then is no longer there.
        OutputError: It names an output outside of its own folder.
    """
    from hadgeo.run.manifest import read_manifest

    manifest, command = read_manifest(path), context.command.name
    if manifest.command != command:
        raise CubeError(
            f"{path}: a run of `hadgeo {manifest.command}`, not of `hadgeo {command}`, which cannot repeat it"
        )
    changed = manifest.changed_inputs()
    if changed:
        raise CubeError(
            f"{path}: {changed[0]} is missing or has changed since, so the run cannot be repeated; start a new run"
        )
    named = _given(context, "scenes")
    left = [
        param
        for param in context.command.params
        if param.name not in _MANNERS
        and manifest.options.get(param.name or "") not in (None, False)
        and param.name in context.params
        and not _given(context, param.name)
    ]
    for name, value in _typed(context.command, left, manifest, path).items():
        context.params[name] = value
        context.set_parameter_source(name, ParameterSource.COMMANDLINE)
        if name in _OUTPUTS:
            _check_beside(value, path, f"--{name.replace('_', '-')}")
    if not named and context.params["output"] is None:
        # Its place is beside the scene then, which the manifest names.
        for scene in _texts(context.params["scenes"]):
            _check_beside(scene, path, "-o")
    return manifest


def _given(context: click.Context, name: str) -> bool:
    return context.get_parameter_source(name) is not ParameterSource.DEFAULT


def _check_beside(output: Any, path: str, option: str) -> None:
    """Refuse an output that a manifest puts elsewhere than into its own folder, or a folder in it."""
    folder, place = Path(path).resolve().parent, Path(str(output)).absolute()
    if output is not None and not place.parent.resolve().is_relative_to(folder):
        option = "-o" if option == "--output" else option
        raise OutputError(
            f"{path}: names an output outside of its own folder, {output}, which is not taken from a file; say where "
            f"to write with {option}"
        )


def _typed(command: click.Command, params: Sequence[click.Parameter], manifest: Manifest, path: str) -> dict[str, Any]:
    """Options of an earlier run, checked and converted as those that a user types are.

    Raises:
        CubeError: One of them has a value that nobody could have given.
    """
    try:
        # Nothing else is said on that command line, and it is not run.
        with command.make_context(command.name, _words(params, manifest.options)) as said:
            return {str(param.name): said.params[str(param.name)] for param in params}
    except (click.UsageError, ValueError) as error:
        reason = error.format_message() if isinstance(error, click.UsageError) else str(error)
        raise CubeError(f"{path}: cannot be repeated ({reason}); start a new run") from None


def as_command(manifest: Manifest) -> str:
    """The words that a user would type to do the same again, for a shell."""
    from hadgeo.cli import cli

    command = cli.get_command(click.Context(cli), manifest.command)
    words = _words(() if command is None else command.params, manifest.options)
    # Names that begin with a dash are rare, and two dashes would puzzle everybody.
    words = words if any(word.startswith("-") for word in words[words.index("--") + 1 :]) else _without_dashes(words)
    return shlex.join(["hadgeo", manifest.command, *words])


def _without_dashes(words: list[str]) -> list[str]:
    at = words.index("--")
    return words[:at] + words[at + 1 :]


def _words(params: Iterable[click.Parameter], options: Mapping[str, Any]) -> list[str]:
    """Options and arguments as one types them, with two dashes between."""
    words: list[str] = []
    last: list[str] = []
    for param in params:
        value = options.get(param.name or "")
        if value is None or value is False:
            continue
        if isinstance(param, click.Argument):
            last += _texts(value)
        elif isinstance(param, click.Option):
            words += _option(param, _texts(value))
    return [*words, "--", *last]


def _option(option: click.Option, texts: list[str]) -> list[str]:
    """An option and its value, as one types them."""
    name = max(option.opts, key=len)
    if option.is_flag:
        return [name]
    if option.multiple:
        return [word for text in texts for word in (name, text)]
    return [name, *texts] if option.nargs > 1 else [name, ",".join(texts)]


def _texts(value: Any) -> list[str]:
    if isinstance(value, dict):
        return [f"{key}={inner}" for key, inner in value.items()]
    return [str(one) for one in value] if isinstance(value, list | tuple) else [str(value)]


def compare(earlier: Manifest, made: Manifest, progress: Progress) -> None:
    """Say whether a repetition gave the same bytes."""
    differing = earlier.differing_outputs(made)
    if not differing:
        progress.message("every output is identical, byte for byte, to that of the original run")
    for path in differing:
        progress.message(f"{path} differs from the original run; compare the versions and devices of both")


def in_full(name: Any) -> str | None:
    """A name that holds in any folder: absolute, unless it is one that GDAL alone understands, such as s3://..."""
    from hadgeo.formats.gdal import is_no_path

    if name is None:
        return None
    return str(name) if is_no_path(name) else str(Path(name).absolute())
