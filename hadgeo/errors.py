"""Every error that a user can meet.

The root is `HadgeoError`; each subclass also inherits the built-in exception that it refines, so that
``except ValueError`` and ``except HadgeoError`` both do what a caller expects. A message says what was wrong,
in which file, and what to do about it, in one line. Messages are written where the error is raised; this
module gives them types, and has the boundary at which files become values.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import ClassVar


class HadgeoError(Exception):
    """Root of all errors that hadgeo raises on purpose.

    Attributes:
        exit_code: What the command line exits with: 2 for bad input, 1 for a failure on the way.
    """

    exit_code: ClassVar[int] = 2


class CubeError(HadgeoError, ValueError):
    """A file cannot be used as a hyperspectral cube."""


class CubeNotFoundError(CubeError, FileNotFoundError):
    """A cube's file, or a part of it, does not exist."""


class BandError(HadgeoError, ValueError):
    """A band selection is malformed or leaves too few bands."""


class ParameterError(HadgeoError, ValueError):
    """A detector parameter, or an option, is unknown or out of bounds."""


class DetectorNotFoundError(HadgeoError, LookupError):
    """No detector has the requested name."""


class FitError(HadgeoError, ValueError):
    """The pixels of a scene cannot be fitted."""


class DeviceError(HadgeoError, RuntimeError):
    """The requested device is not available, or has too little memory."""


class ReadError(HadgeoError, OSError):
    """A cube that was opened cannot be read to its end."""

    exit_code = 1


class OutputError(HadgeoError, OSError):
    """An output cannot be written."""


class OutputExistsError(OutputError, FileExistsError):
    """An output exists and was not to be overwritten."""


class MissingExtraError(HadgeoError, ImportError):
    """An optional dependency is needed but not installed."""


class ExtensionError(HadgeoError, ImportError):
    """A detector or a format of another package is registered but cannot be used."""


class ExtensionWarning(UserWarning):
    """A detector or a format of another package is ignored; everything else works."""


class ClusterError(HadgeoError, RuntimeError):
    """A dask cluster is not available, or cannot be used."""


class ClusterLostError(ClusterError):
    """A dask cluster was lost on the way."""

    exit_code = 1


class Cancelled(HadgeoError):
    """The user asked for the run to stop."""

    exit_code = 130


class CubeWarning(UserWarning):
    """A cube can be used, but something is missing or odd."""


class ModelError(HadgeoError, ValueError):
    """A file is not a usable model, or a model does not fit a scene."""


class MaskError(HadgeoError, ValueError):
    """A mask cannot be read, does not fit a scene, or leaves no pixel of it."""


class RegionError(HadgeoError, ValueError):
    """What a detector shall learn from, or shall not, cannot be read, or leaves no pixel of a scene."""


class RegionElsewhereError(RegionError):
    """A region has no pixel of a scene in it."""


class GeometryError(HadgeoError, ValueError):
    """A lookup table, or coordinates of pixels, cannot be used, or do not fit a flight line."""


class TargetError(HadgeoError, ValueError):
    """A target spectrum cannot be read, or does not fit a scene."""


class TargetNotFoundError(TargetError, FileNotFoundError):
    """The file of a target spectrum does not exist."""


class TruthError(HadgeoError, ValueError):
    """A truth cannot be read, does not fit a score map, or holds only one class."""


class ReviewError(HadgeoError, ValueError):
    """Verdicts on anomalies cannot be read, or belong to other anomalies."""


class ReviewNotFoundError(ReviewError, FileNotFoundError):
    """The file of a review does not exist."""


#: Most characters of what a library says: torch names each tensor of a network that does not fit.
_MOST_REASON = 200


@contextmanager
def refusing(error: type[HadgeoError], told: str, advice: str) -> Iterator[None]:
    """The boundary between a file and what is made of it: whatever is raised over what it holds becomes one error.

    Around a library, or a format or a detector of another package, which raise whatever they meet in a malformed file.

    Args:
        error: The error.
        told: The file, and what it is not.
        advice: What to do.

    Raises:
        HadgeoError: `error`, with the reason between the two; one that was raised within goes through as it is, as
            does running out of memory.
    """
    try:
        yield
    except (HadgeoError, MemoryError):
        raise
    except Exception as failure:
        raise error(f"{told} ({_reason(failure)}); {advice}") from failure


def _reason(failure: Exception) -> str:
    words = " ".join(str(failure).split())
    if len(words) > _MOST_REASON:
        words = f"{words[:_MOST_REASON]}…"
    if isinstance(failure, RecursionError):
        return "nested too deeply"
    if isinstance(failure, UnicodeDecodeError):
        return "bytes that are not UTF-8"
    if isinstance(failure, UnicodeEncodeError):
        return "its name is not UTF-8; rename it"
    # What libraries say in sentences explains itself; a key or a number alone does not.
    return words if re.search(r"\w+\s+\w+\s+\w+", words) else f"{type(failure).__name__}: {words}".rstrip(": ")
