"""The first start: a message with a button, as long as there is no backend."""

from __future__ import annotations

from contextlib import suppress

from qgis import utils
from qgis.core import Qgis
from qgis.PyQt.QtCore import QTimer
from qgis.PyQt.QtWidgets import QPushButton

from . import packages, settings

#: One line of the message bar holds no more; the dialog says the rest.
TEXT = f"The backend is not set up yet ({packages.to_download()} to download)."


class FirstStart:
    """Says that there is no backend, until there is one.

    Args:
        set_up: Opens the dialog that sets it up.
    """

    def __init__(self, set_up) -> None:
        self._set_up, self._message, self._timer = set_up, None, None

    def show(self) -> None:
        """Show the message, unless it is there already or there is a backend."""
        self.release()
        if not settings.problem():
            return
        bar = utils.iface.messageBar()
        # Where the user chose an interpreter, what is wrong with it comes first.
        text = TEXT if settings.is_own() else settings.problem()
        self._message = bar.createMessage("hadgeo", text)
        button = QPushButton("Set up the backend")
        # Later, as a button may go with its message, and what it has called must not still be at work then.
        self._timer = QTimer(utils.iface.mainWindow())
        self._timer.setSingleShot(True)
        self._timer.timeout.connect(self._set_up)
        button.clicked.connect(self._timer.start)
        self._message.layout().addWidget(button)
        bar.pushWidget(self._message, Qgis.MessageLevel.Info, 0)

    def look(self) -> None:
        """Take the message away once there is a backend."""
        if self._message is not None and not settings.problem():
            self.release()

    def release(self) -> None:
        """Take the message away."""
        message, self._message = self._message, None
        timer, self._timer = self._timer, None
        if timer is not None:
            timer.stop()
            timer.deleteLater()
        if message is not None:
            # The user may have closed it.
            with suppress(RuntimeError):
                utils.iface.messageBar().popWidget(message)
