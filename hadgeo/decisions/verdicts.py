"""What a person says of an anomaly, as a value."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime

from hadgeo.errors import ReviewError
from hadgeo.maps.polygon_fields import FIELDS, VERDICTS


@dataclass(frozen=True)
class Verdict:
    """What a person says of an anomaly.

    Attributes:
        verdict: ``"accepted"`` (a real find), ``"rejected"`` (it does not matter) or ``"unsure"``; None where the
            anomaly has not been looked at.
        note: Free text, or None.
        reviewer: Who says so, or None.
        reviewed_at: When, in ISO 8601, UTC, to the second, as ``2026-03-01T12:34:56Z``; any other zone of ISO 8601 is
            converted. None where it is not known.

    Raises:
        ReviewError: There is no such verdict, or the time is not in ISO 8601.

    Examples:
        >>> Verdict("accepted", note="white van").verdict
        'accepted'
    """

    verdict: str | None = None
    note: str | None = None
    reviewer: str | None = None
    reviewed_at: str | None = None

    def __post_init__(self) -> None:
        for name in FIELDS:
            text = getattr(self, name)
            object.__setattr__(self, name, (text.strip() or None) if text else None)
        if self.verdict is not None and self.verdict not in VERDICTS:
            raise ReviewError(f"unknown verdict {self.verdict!r}; it must be one of {', '.join(VERDICTS)}, or empty")
        if self.reviewed_at is not None:
            object.__setattr__(self, "reviewed_at", _utc(self.reviewed_at))

    def __bool__(self) -> bool:
        """Whether anything is said."""
        return any(getattr(self, name) is not None for name in FIELDS)


def _utc(text: str) -> str:
    try:
        time = datetime.fromisoformat(text)
    except ValueError:
        raise ReviewError(
            f"reviewed_at {text!r} is no time; write it as 2026-03-01T12:34:56Z, or leave it empty"
        ) from None
    # One without a zone is taken for UTC, which is what the field holds.
    there = time.astimezone(UTC) if time.tzinfo is not None else time
    return f"{there:%Y-%m-%dT%H:%M:%S}Z"
