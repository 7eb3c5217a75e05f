"""In which order anomalies are looked at, under which filter, and how many of them have been; neither Qt nor QGIS."""

from __future__ import annotations

#: What can be said of an anomaly; an empty text where nobody has looked at it yet.
ACCEPTED, REJECTED, UNSURE, NOT_SEEN = "accepted", "rejected", "unsure", ""

#: Which anomalies are shown: what the user sees, and the verdicts that pass; None for all.
FILTERS = (
    ("All", None),
    ("Not looked at", (NOT_SEEN,)),
    ("Looked at", (ACCEPTED, REJECTED, UNSURE)),
    ("Accepted", (ACCEPTED,)),
    ("Rejected", (REJECTED,)),
    ("Unsure", (UNSURE,)),
)


class Queue:
    """The anomalies of a layer, the rarest first.

    Args:
        verdicts: The verdict on each, by the feature's id, in their order.
    """

    def __init__(self, verdicts: dict) -> None:
        self.verdicts = dict(verdicts)
        self.shown = None

    def matching(self) -> list:
        """Those that pass the filter, in their order."""
        return [key for key in self.verdicts if self._passes(key)]

    def step(self, current, direction: int):
        """The next one that passes the filter.

        Args:
            current: Where to go on from, whether it passes the filter or not; None for before the first.
            direction: 1 for the next, -1 for the one before.

        Returns:
            Its id; None where there is no further one.
        """
        order = list(self.verdicts)
        at = order.index(current) if current in self.verdicts else (-1 if direction > 0 else len(order))
        left = order[at + 1 :] if direction > 0 else order[:at][::-1]
        return next((key for key in left if self._passes(key)), None)

    def summary(self) -> str:
        """How far the review is, in words."""
        said = list(self.verdicts.values())
        counts = [(word, said.count(word)) for word in (ACCEPTED, REJECTED, UNSURE)]
        told = ", ".join(f"{count} {word}" for word, count in counts if count)
        seen = sum(count for _, count in counts)
        return f"{seen} of {len(said)} looked at" + (f": {told}" if told else "")

    def _passes(self, key) -> bool:
        return self.shown is None or self.verdicts[key] in self.shown
