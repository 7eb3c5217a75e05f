"""What rasterio raises. Where GDAL or PROJ gives up inside some of its calls, an error comes through unwrapped."""

from __future__ import annotations

from rasterio._err import CPLE_BaseError
from rasterio.errors import CRSError, RasterioError

#: For ``except``: every error of rasterio's, GDAL's own included.
RASTERIO_ERRORS: tuple[type[Exception], ...] = (RasterioError, CRSError, CPLE_BaseError)
