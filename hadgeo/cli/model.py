"""``hadgeo model``: inspect model files."""

from __future__ import annotations

import math

import click

from hadgeo.cli import options, say
from hadgeo.cli.reporting import print_json


@click.group("model")
def command() -> None:
    """Inspect a model file written by `hadgeo train`."""


@command.command("info")
@click.argument("file")
@click.option("--json", "as_json", is_flag=True, help="Print the result as one JSON object.")
@options.debug
def info(file: str, as_json: bool) -> None:
    """Show the contents of FILE: detector, parameters, bands, scenes, training loss, and whether it is undamaged."""
    from hadgeo.run.model_file import load_model

    model = load_model(file)
    spectrum = model.spectrum
    if as_json:
        content = {
            "file": file,
            "detector": model.detector.name,
            "parameters": model.detector.params.model_dump(mode="json"),
            "precision": model.detector.precision,
            "bands": [i + 1 for i in spectrum.indices],
            "bands_of_sensor": spectrum.total,
            "wavelength_nm": _known(spectrum.wavelength),
            "fwhm_nm": _known(spectrum.fwhm),
            "stored_type": model.stored_dtype,
            "scenes": model.scenes,
            "loss": model.loss,
            "hadgeo_version": model.hadgeo_version,
            "hash": model.hash,
        }
        print_json(content)
        return
    centres = [value for value in spectrum.wavelength or () if value == value]
    rows = {
        "file": file,
        "detector": f"{model.detector.name}, {model.detector.title}",
        "parameters": ", ".join(f"{k}={v}" for k, v in model.detector.params.model_dump(mode="json").items()),
        **({"precision": f"{model.detector.precision} on this CPU"} if model.detector.precision else {}),
        "bands": f"{len(spectrum.indices)} of {spectrum.total}"
        + (f", {centres[0]:g} to {centres[-1]:g} nm" if centres else ", wavelengths unknown"),
        "scenes": f"{', '.join(model.scenes)} ({model.stored_dtype})",
        "loss": f"{model.loss[0]:.4g} to {model.loss[-1]:.4g} in {len(model.loss)} steps" if model.loss else "none",
        "hadgeo": model.hadgeo_version,
        "hash": f"{model.hash} (verified)",
    }
    for name, value in rows.items():
        say(f"{name:>10}  {value}")


def _known(values: tuple[float, ...] | None) -> list[float | None] | None:
    """Numbers as JSON can hold them: it has no NaN."""
    return None if values is None else [value if math.isfinite(value) else None for value in values]
