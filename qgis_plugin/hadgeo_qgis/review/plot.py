"""A spectrum against what was expected, drawn with Qt alone: QGIS comes with no plotting library everywhere."""

from __future__ import annotations

import math

import numpy as np
from qgis.PyQt.QtCore import QPointF, QRectF, QSize, Qt
from qgis.PyQt.QtGui import QColor, QPainter, QPainterPath, QPen, QPolygonF, QTextOption
from qgis.PyQt.QtWidgets import QSizePolicy, QWidget

_SPECTRUM, _EXPECTED, _CLICKED = QColor("#d62728"), QColor("#1f77b4"), QColor("#2ca02c")
_SPREAD = QColor(31, 119, 180, 50)


def ticks(low: float, high: float, most: int) -> list:
    """Round numbers between two others, both of them included where they are round; at most so many, but for one."""
    if not high > low:
        return [low]
    raw = (high - low) / max(1, most - 1)
    power = 10.0 ** math.floor(math.log10(raw))
    step = next(power * factor for factor in (1, 2, 2.5, 5, 10) if power * factor >= raw * (1 - 1e-9))
    first = math.ceil(low / step - 1e-9)
    return [number * step for number in range(first, math.floor(high / step + 1e-9) + 1)]


class SpectrumPlot(QWidget):
    """Draws up to two spectra, what was expected, and the usual spread around that."""

    def __init__(self, parent=None) -> None:
        super().__init__(parent)
        self.setMinimumSize(220, 170)
        self.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Expanding)
        self.clear()

    def sizeHint(self) -> QSize:
        """What suits it."""
        return QSize(360, 220)

    def clear(self, told: str = "") -> None:
        """Draw nothing.

        Args:
            told: Why.
        """
        self.curves, self._told = [], told
        self._x, self._look, self._clicked, self._axis = np.empty(0), None, None, ""
        self.setToolTip("")
        self.update()

    def show_look(self, wavelengths, good, look, clicked=None) -> None:
        """Draw spectra.

        Args:
            wavelengths: (band,) in nm; band numbers are drawn where one that is good is not known.
            good: (band,) which bands are drawn.
            look: The spectrum at the anomaly, and what is expected there; or None.
            clicked: The spectrum at a pixel, and what is expected there; or None.
        """
        known = np.isfinite(wavelengths[good]).all() and good.any()
        self._axis = "Wavelength [nm]" if known else "Band"
        centres = wavelengths if known else np.arange(1.0, len(good) + 1)
        # A gap is drawn where bands are left out.
        self._x = np.where(good, centres, np.nan)
        self._look, self._clicked, self._told = look, clicked, ""
        shown = clicked or look
        self.curves = [
            (name, np.where(good, values, np.nan), colour, style)
            for name, values, colour, style in (
                ("expected", shown.expected, _EXPECTED, Qt.PenStyle.DashLine),
                ("anomaly", look.spectrum if look else None, _SPECTRUM, Qt.PenStyle.SolidLine),
                ("clicked pixel", clicked.spectrum if clicked else None, _CLICKED, Qt.PenStyle.SolidLine),
            )
            if values is not None and np.isfinite(values[good]).any()
        ]
        self._spread = np.where(good, shown.spread, np.nan)
        pixels = f"mean of {look.pixels} pixels; " if look and look.pixels > 1 else ""
        self.setToolTip(f"{pixels}expected: {shown.told}; shaded: its usual spread")
        self.update()

    def paintEvent(self, _event) -> None:
        """Draw."""
        painter = QPainter(self)
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        painter.fillRect(self.rect(), self.palette().base())
        if not self.curves:
            painter.setPen(self.palette().mid().color())
            _write(painter, QRectF(self.rect()).adjusted(12, 12, -12, -12), self._told or "No spectrum")
            painter.end()
            return
        area = self._area(painter)
        low, high = self._range()
        self._draw_axes(painter, area, low, high)
        painter.setClipRect(area)
        self._draw_spread(painter, area, low, high)
        for _, values, colour, style in self.curves:
            painter.setPen(QPen(colour, 1.6, style))
            for run in self._runs(values):
                points = self._points(run, values, area, low, high)
                painter.drawPolyline(QPolygonF(points)) if len(points) > 1 else painter.drawPoint(points[0])
        painter.setClipping(False)
        self._draw_legend(painter, area)
        painter.end()

    def _area(self, painter) -> QRectF:
        letters = painter.fontMetrics()
        left = max(letters.horizontalAdvance(_number(tick)) for tick in ticks(*self._range(), 5)) + 12
        return QRectF(left, letters.height() + 8, self.width() - left - 12, self.height() - 3.4 * letters.height() - 10)

    def _range(self) -> tuple[float, float]:
        values = np.concatenate([curve[1] for curve in self.curves])
        low, high = float(np.nanmin(values)), float(np.nanmax(values))
        # A flat spectrum is drawn in the middle.
        margin = 0.06 * (high - low) or abs(high) or 1.0
        return low - margin, high + margin

    def _draw_axes(self, painter, area: QRectF, low: float, high: float) -> None:
        letters, faint, ink = painter.fontMetrics(), self.palette().midlight().color(), self.palette().text().color()
        for tick in ticks(low, high, 5):
            y = area.bottom() - (tick - low) / (high - low) * area.height()
            painter.setPen(faint)
            painter.drawLine(QPointF(area.left(), y), QPointF(area.right(), y))
            painter.setPen(ink)
            _write(painter, QRectF(0, y - 20, area.left() - 6, 40), _number(tick), _RIGHT)
        first, last = float(np.nanmin(self._x)), float(np.nanmax(self._x))
        for tick in ticks(first, last, 6):
            x = area.left() + _share(tick, first, last) * area.width()
            painter.setPen(faint)
            painter.drawLine(QPointF(x, area.top()), QPointF(x, area.bottom()))
            painter.setPen(ink)
            _write(painter, QRectF(x - 40, area.bottom() + 2, 80, letters.height() + 2), _number(tick))
        foot = area.bottom() + letters.height() + 4
        _write(painter, QRectF(area.left(), foot, area.width(), letters.height() + 2), self._axis)
        painter.drawRect(area)

    def _draw_spread(self, painter, area: QRectF, low: float, high: float) -> None:
        shown = self._clicked or self._look
        upper, lower = shown.expected + self._spread, shown.expected - self._spread
        painter.setPen(Qt.PenStyle.NoPen)
        painter.setBrush(_SPREAD)
        for run in self._runs(upper):
            there = self._points(run, upper, area, low, high)
            back = self._points(run, lower, area, low, high)[::-1]
            painter.drawPolygon(QPolygonF(there + back))
        painter.setBrush(Qt.BrushStyle.NoBrush)

    def _draw_legend(self, painter, area: QRectF) -> None:
        letters = painter.fontMetrics()
        x, y = area.left(), area.top() - letters.height() / 2 - 3
        for name, _, colour, style in self.curves:
            painter.setPen(QPen(colour, 2, style))
            path = QPainterPath(QPointF(x, y))
            path.lineTo(x + 22, y)
            painter.drawPath(path)
            painter.setPen(self.palette().text().color())
            painter.drawText(QPointF(x + 26, y + letters.ascent() / 2 - 1), name)
            x += 40 + letters.horizontalAdvance(name)

    def _runs(self, values: np.ndarray) -> list:
        """The bands of each stretch without a gap, from the shortest wavelength to the longest."""
        order = np.argsort(self._x, kind="stable")
        known = np.isfinite(self._x) & np.isfinite(values)
        kept = order[known[order]]
        if not kept.size:
            return []
        steps = np.abs(np.diff(self._x[kept]))
        usual = np.median(steps) if steps.size else 0.0
        return np.split(kept, np.flatnonzero(steps > 3.5 * usual) + 1)

    def _points(self, run: np.ndarray, values: np.ndarray, area: QRectF, low: float, high: float) -> list:
        first, last = float(np.nanmin(self._x)), float(np.nanmax(self._x))
        return [
            QPointF(
                area.left() + _share(self._x[band], first, last) * area.width(),
                area.bottom() - (values[band] - low) / (high - low) * area.height(),
            )
            for band in run
        ]


_CENTRED = Qt.AlignmentFlag.AlignCenter
_RIGHT = Qt.AlignmentFlag.AlignRight | Qt.AlignmentFlag.AlignVCenter


def _write(painter, box: QRectF, text: str, alignment=_CENTRED) -> None:
    # An option is what Qt 5 and Qt 6 both take.
    painter.drawText(box, text, QTextOption(alignment))


def _share(value: float, first: float, last: float) -> float:
    return (value - first) / (last - first) if last > first else 0.5


def _number(value: float) -> str:
    return f"{value:.4g}" if abs(value) < 1e5 else f"{value:.2e}"
