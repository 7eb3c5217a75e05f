"""Learned anomaly detection on whole georeferenced hyperspectral flight lines.

Examples:
    >>> import hadgeo
    >>> cube = hadgeo.open_cube("line.img")
    >>> hadgeo.detect(cube, "bs3lnet", out="line_anomaly.tif").path
    PosixPath('line_anomaly.tif')
"""

import lazy_loader

# What is public stands in the stub beside this file. It is loaded on first use: torch alone takes longer to import
# than most of our commands to run.
__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
