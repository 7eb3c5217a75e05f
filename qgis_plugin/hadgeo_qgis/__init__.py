"""hadgeo in QGIS: anomaly detection on hyperspectral flight lines as a Processing provider.

The plugin is pure PyQGIS. What computes is the package hadgeo in a Python environment of its own, as a child process.

SPDX-License-Identifier: GPL-2.0-or-later
"""


def classFactory(_iface):
    """Make the plugin; QGIS calls this."""
    from .plugin import HadgeoPlugin

    return HadgeoPlugin()
