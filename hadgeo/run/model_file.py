"""A fitted detector as a file: tensors in safetensors, and beside them what they mean, as JSON.

No code is ever run from such a file. Everything in it is covered by a hash, so damage is noticed before it is used.
"""

from __future__ import annotations

import hashlib
import json
import math
import os
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

import numpy as np
import torch
from pydantic import BaseModel, ConfigDict, FiniteFloat, model_validator
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from hadgeo import __version__
from hadgeo.detectors.base import Detector
from hadgeo.detectors.registry import make_detector
from hadgeo.errors import HadgeoError, ModelError, refusing
from hadgeo.formats.source import Source

#: Raised when a file of this version can no longer be read by older ones.
FORMAT_VERSION = 1

_KEY = "hadgeo"


class Spectrum(BaseModel):
    """The bands that a detector was fitted to.

    Attributes:
        indices: Their 0-based indices in the sensor's cube.
        total: Bands of that cube.
        wavelength: Their centres in nm, NaN where one is not known, or None.
        fwhm: Their full widths at half maximum in nm, NaN where one is not known, or None.
    """

    # NaN, of bands whose wavelength is not known, stays NaN.
    model_config = ConfigDict(extra="forbid", frozen=True, ser_json_inf_nan="constants")

    indices: tuple[int, ...]
    total: int
    wavelength: tuple[float, ...] | None = None
    fwhm: tuple[float, ...] | None = None

    @model_validator(mode="after")
    def _of_as_many_bands(self) -> Self:
        if any(values is not None and len(values) != len(self.indices) for values in (self.wavelength, self.fwhm)):
            raise ValueError("wavelengths and widths must be as many as the bands")
        if not all(
            math.isnan(value) or 0 <= value < math.inf for value in (*(self.wavelength or ()), *(self.fwhm or ()))
        ):
            raise ValueError("wavelengths and widths must be numbers from 0 on")
        if not all(0 <= index < self.total for index in self.indices):
            raise ValueError("the bands must be some of the sensor's")
        return self


class _Header(BaseModel):
    """What stands in a file beside the tensors."""

    model_config = ConfigDict(extra="forbid", ser_json_inf_nan="constants")

    format_version: int
    hadgeo_version: str
    detector: str
    parameters: dict[str, Any]
    spectrum: Spectrum
    stored_dtype: str
    level: FiniteFloat
    scenes: tuple[str, ...]
    loss: tuple[FiniteFloat, ...]
    hash: str


@dataclass(frozen=True)
class Model:
    """A fitted detector, and what it was fitted to.

    Attributes:
        detector: The fitted detector.
        spectrum: The bands that it takes.
        stored_dtype: The type in which the first scene stored its samples, before scale and offset.
        level: Median over the bands of the first scene's largest values: the scale of the sensor's product.
        scenes: Names of the scenes.
        loss: Training loss of each step; empty where a detector has none.
        hadgeo_version: What it was fitted with.
        hash: SHA-256 over all of it.
    """

    detector: Detector[Any]
    spectrum: Spectrum = field(repr=False)
    stored_dtype: str = ""
    level: float = 0.0
    scenes: tuple[str, ...] = ()
    loss: tuple[float, ...] = field(default=(), repr=False)
    hadgeo_version: str = __version__
    hash: str = ""


def spectrum_of(source: Source, indices: Sequence[int]) -> Spectrum:
    """The used bands of a cube as a model keeps them."""
    metadata = source.metadata
    chosen = np.asarray(indices, dtype=np.intp)
    return Spectrum(
        indices=tuple(int(i) for i in chosen),
        total=source.shape[0],
        wavelength=None if metadata.wavelength is None else tuple(metadata.wavelength[chosen].tolist()),
        fwhm=None if metadata.fwhm is None else tuple(metadata.fwhm[chosen].tolist()),
    )


def to_bytes(model: Model) -> bytes:
    """A model as the bytes of a file; the same model gives the same bytes."""
    # Copies: parts of a fusion may share what they learned, which safetensors refuses.
    tensors = {
        name: value.detach().cpu().clone(memory_format=torch.contiguous_format)
        for name, value in model.detector.state().items()
    }
    if not all(value.isfinite().all() for value in tensors.values()) or not np.isfinite(model.loss).all():
        raise ModelError(f"the fit of {model.detector.name} diverged; use a smaller learning_rate, or check the input")
    header = _Header(
        format_version=FORMAT_VERSION,
        hadgeo_version=model.hadgeo_version,
        detector=model.detector.name,
        parameters=model.detector.params.model_dump(mode="json"),
        spectrum=model.spectrum,
        stored_dtype=model.stored_dtype,
        level=model.level,
        scenes=model.scenes,
        loss=model.loss,
        hash="",
    )
    signed = header.model_copy(update={"hash": _digest(header, tensors)})
    # One key alone: the order of several is not kept.
    written: bytes = save(tensors, metadata={_KEY: signed.model_dump_json()})
    return written


def load_model(path: str | os.PathLike[str], device: torch.device | None = None) -> Model:
    """Read a fitted detector.

    Args:
        path: A file written by `hadgeo train`.
        device: Device on which the detector will score; the CPU by default.

    Returns:
        The model, for `hadgeo.detect` and `hadgeo.gather_evidence`.

    Raises:
        ModelError: The file is missing, damaged, of another kind or of a newer version, or its detector is unknown.

    Examples:
        >>> hadgeo.detect("line2.img", load_model("mission.hadgeo")).path
        PosixPath('line2_anomaly.tif')
    """
    file = Path(path)
    if not file.is_file():
        raise ModelError(f"{file}: no such model file; make one with `hadgeo train SCENE -o {file.name}`")
    try:
        with safe_open(file, framework="pt") as opened:
            text = (opened.metadata() or {}).get(_KEY)
            tensors = {name: opened.get_tensor(name) for name in opened.keys()}  # noqa: SIM118 - it is no mapping
    except (SafetensorError, OSError, ValueError, RuntimeError, KeyError, TypeError) as error:
        reason = " ".join(str(error).split())
        raise ModelError(f"{file}: not a hadgeo model, or damaged ({reason}); train it or copy it again") from None
    if text is None:
        raise ModelError(f"{file}: a safetensors file, but not a hadgeo model; make one with `hadgeo train`")
    header = _parse(text, file)
    with refusing(ModelError, f"{file}: its description is damaged", "copy it again"):
        digest = _digest(header, tensors)
    if header.hash != digest:
        raise ModelError(f"{file}: damaged, its contents do not match their hash; copy it again")
    try:
        with refusing(ModelError, f"{file}: its parameters are not those of {header.detector}", "train it again"):
            detector = make_detector(header.detector, header.parameters)
    except ModelError:
        raise
    except HadgeoError as error:
        raise ModelError(f"{file}: {error}; install the package that defines it, or train again") from None
    device = device or torch.device("cpu")
    with refusing(ModelError, f"{file}: its tensors are not those of {header.detector}", "train it again"):
        detector.load_state(tensors, device)
        _try_out(detector, len(header.spectrum.indices), device)
    return Model(
        detector,
        header.spectrum,
        header.stored_dtype,
        header.level,
        header.scenes,
        header.loss,
        header.hadgeo_version,
        header.hash,
    )


@torch.no_grad()
def _try_out(detector: Detector[Any], bands: int, device: torch.device) -> None:
    """Score a few pixels: tensors that do not fit each other or the bands are noticed now, not during a run.

    Raises:
        ValueError: There is not one score for each pixel; or whatever else the detector raises.
    """
    # No side is 1, which would fit any other.
    block = torch.zeros((bands, 3, 5), device=device)
    shape = tuple(detector.score(block).shape)
    if shape != block.shape[1:]:
        raise ValueError(f"scores of shape {shape} for {tuple(block.shape[1:])} pixels")


def _parse(text: str, file: Path) -> _Header:
    try:
        raw = json.loads(text)
        version = raw.get("format_version") if isinstance(raw, dict) else None
        if isinstance(version, int) and version > FORMAT_VERSION:
            raise ModelError(
                f"{file}: written by hadgeo {raw.get('hadgeo_version')} in format {version}, but this is hadgeo "
                f"{__version__}, which reads up to format {FORMAT_VERSION}; update hadgeo"
            )
        return _Header.model_validate(raw)
    except ModelError:
        raise
    except (ValueError, RecursionError):
        raise ModelError(f"{file}: damaged, its description cannot be read; copy it again") from None


def _digest(header: _Header, tensors: dict[str, Tensor]) -> str:
    """SHA-256 over the description and every tensor, with names, types and shapes."""
    digest = hashlib.sha256(header.model_copy(update={"hash": ""}).model_dump_json().encode())
    for name, value in sorted(tensors.items()):
        digest.update(f"{name} {value.dtype} {tuple(value.shape)}".encode())
        digest.update(_bytes_of(value))
    return digest.hexdigest()


def model_hash(detector: Detector[Any]) -> str:
    """SHA-256 over a fitted detector's name, parameters and tensors."""
    digest = hashlib.sha256(f"{detector.name} {detector.params.model_dump_json()}".encode())
    for name, value in sorted(detector.state().items()):
        digest.update(name.encode())
        digest.update(_bytes_of(value))
    return digest.hexdigest()


def _bytes_of(value: Tensor) -> bytes:
    """A tensor as it lies in memory, also of a type that NumPy does not have."""
    stored: bytes = value.detach().cpu().contiguous().flatten().view(torch.uint8).numpy().tobytes()
    return stored
