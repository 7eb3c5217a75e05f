"""Layers of polygons as files: GeoPackage, GeoJSON and GeoParquet, written in memory and read back."""

from __future__ import annotations

import io
import json
import sqlite3
import warnings
from collections.abc import Mapping
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyogrio
import pyogrio.raw
import pyproj
import shapely

from hadgeo.decisions.geopackage import holds_others, put_beside
from hadgeo.errors import MissingExtraError, ParameterError, ReviewError, refusing
from hadgeo.files import write_whole
from hadgeo.formats.drivers import check_vector
from hadgeo.maps.polygon_fields import LAYER

#: (object,) array of shapely geometries.
Geometries = npt.NDArray[np.object_]

#: Columns by name, each (object,).
Table = dict[str, npt.NDArray[Any]]

_SPATIAL = ("ST_IsEmpty", "ST_MinX", "ST_MaxX", "ST_MinY", "ST_MaxY")

_DRIVERS = {".gpkg": "GPKG", ".geojson": "GeoJSON", ".parquet": "Parquet"}


def check_suffix(out: Path) -> str:
    """The format that a file's name asks for.

    Raises:
        ParameterError: It asks for none that is known.
        MissingExtraError: It is GeoParquet, and pyarrow is not installed.
    """
    driver = _DRIVERS.get(out.suffix.lower())
    if driver is None:
        raise ParameterError(f"{out}: polygons can be written as {', '.join(_DRIVERS)}; give one of these suffixes")
    if driver == "Parquet":
        _pyarrow()
    return driver


@dataclass(frozen=True)
class Layer:
    """Objects with attributes.

    Attributes:
        table: The attributes, column by column; NaN and None are unknown.
        outlines: (object,) multi-polygons, or None where there are none.
        crs: The coordinate system of the outlines, or None.
    """

    table: Table
    outlines: Geometries | None = None
    crs: pyproj.CRS | None = None

    def encoded(self, driver: str) -> bytes:
        """The content of a file.

        Args:
            driver: ``GPKG``, ``GeoJSON`` or ``Parquet``.
        """
        # GDAL does not say when it cannot write the last bytes of a file, so it writes to memory.
        if driver == "Parquet":
            return self._parquet()
        content = io.BytesIO()
        self._ogr(content, driver)
        return content.getvalue()

    def write(self, out: Path, option: str) -> None:
        """Write a file, whole or not at all, over what was there; other layers of a GeoPackage stay in it.

        Args:
            out: The file.
            option: What names it on the command line.

        Raises:
            ParameterError: The suffix is unknown.
            MissingExtraError: It is GeoParquet, and pyarrow is not installed.
            OutputError: The file cannot be written.
        """
        driver = check_suffix(out)
        if holds_others(out):
            count = len(next(iter(self.table.values()), ()))
            put_beside(out, lambda part: self._ogr(part, driver), count, option)
        else:
            write_whole(out, self.encoded(driver), option)

    def _ogr(self, target: io.BytesIO | Path, driver: str) -> None:
        # The newest version makes older GIS warn, and holds nothing that is needed here.
        dataset_options = {"VERSION": "1.2"} if driver == "GPKG" else {}
        degrees = driver == "GeoJSON" and self.crs == pyproj.CRS("EPSG:4326")
        # The date in a GeoPackage: the same run gives the same bytes.
        date = pyogrio.get_gdal_config_option("OGR_CURRENT_DATE")
        pyogrio.set_gdal_config_options({"OGR_CURRENT_DATE": "1970-01-01T00:00:00.000Z"})
        try:
            with warnings.catch_warnings():
                # That there is no coordinate system has been said.
                warnings.filterwarnings("ignore", "'crs' was not provided", UserWarning)
                pyogrio.raw.write(
                    target,
                    None if self.outlines is None else shapely.to_wkb(self.outlines),
                    list(self.table.values()),
                    list(self.table),
                    layer=LAYER,
                    driver=driver,
                    geometry_type=None if self.outlines is None else "MultiPolygon",
                    crs=None if self.crs is None else self.crs.to_wkt(),
                    layer_options={"RFC7946": "YES"} if degrees else {},
                    dataset_options=dataset_options,
                )
        finally:
            pyogrio.set_gdal_config_options({"OGR_CURRENT_DATE": date})

    def _parquet(self) -> bytes:
        """GeoParquet 1.1.0 (https://geoparquet.org/releases/v1.1.0), which GDAL's wheels cannot."""
        pyarrow = _pyarrow()
        types = {"b": pyarrow.bool_(), "i": pyarrow.int64(), "f": pyarrow.float64(), "O": pyarrow.string()}
        columns = {k: pyarrow.array(v, types[v.dtype.kind], from_pandas=True) for k, v in self.table.items()}
        outlines = np.empty(0, dtype=object) if self.outlines is None else self.outlines
        columns["geometry"] = pyarrow.array(shapely.to_wkb(outlines), pyarrow.binary())
        geometry: dict[str, Any] = {
            "encoding": "WKB",
            "geometry_types": ["MultiPolygon"] if len(outlines) else [],
            "crs": None if self.crs is None else self.crs.to_json_dict(),
        }
        if len(outlines):
            geometry["bbox"] = shapely.total_bounds(outlines).tolist()
        geo = {"version": "1.1.0", "primary_column": "geometry", "columns": {"geometry": geometry}}
        layer = pyarrow.table(columns).replace_schema_metadata({"geo": json.dumps(geo)})
        content = io.BytesIO()
        pyarrow.parquet.write_table(layer, content)
        return content.getvalue()


def read_layer(path: Path) -> Layer:
    """Read a vector file: GeoParquet of hadgeo's, or anything that GDAL opens.

    Of several layers, the one called ``anomalies`` is read, or the only one that has geometries.

    Raises:
        ReviewError: It is none, or it is not clear which layer is meant.
        MissingExtraError: It is GeoParquet, and pyarrow is not installed.
    """
    if path.suffix.lower() == ".parquet":
        return _read_parquet(path)
    check_vector(path)
    try:
        with warnings.catch_warnings():
            # Of a layer without a coordinate system.
            warnings.simplefilter("ignore", UserWarning)
            # GDAL would take a time for more than the text that it is.
            options = {"DATE_AS_STRING": "YES"} if path.suffix.lower() in (".geojson", ".json") else {}
            meta, _, wkb, columns = pyogrio.raw.read(
                path, layer=_layer_of(path), datetime_as_string=True, force_2d=True, **options
            )
    except UnicodeDecodeError:
        raise ReviewError(f"{path}: not a vector file that GDAL can read (bytes that are not UTF-8)") from None
    except (RuntimeError, ValueError) as error:
        if isinstance(error, ReviewError):
            raise
        reason = " ".join(str(error).replace(str(path), "it").split())
        raise ReviewError(f"{path}: not a vector file that GDAL can read ({reason})") from None
    with refusing(ReviewError, f"{path}: its contents are damaged", "repair it in a GIS and save it again"):
        table = dict(zip(meta["fields"].tolist(), columns, strict=True))
        outlines = None if wkb is None else _multi(shapely.from_wkb(wkb))
        crs = None if meta["crs"] is None or _nowhere(table) else pyproj.CRS(meta["crs"])
        return Layer(table, outlines, crs)


def _nowhere(table: Table) -> bool:
    """Whether no object has a longitude: GDAL takes any GeoJSON for WGS 84, pixels of a scene without a place too."""
    return "lon" in table and bool(len(table["lon"])) and all(at is None or at != at for at in table["lon"].tolist())


def _layer_of(path: Path) -> str:
    layers = pyogrio.list_layers(path)
    placed = [name for name, kind in layers if kind is not None]
    for names in (placed, layers[:, 0].tolist()):
        if LAYER in names:
            return LAYER
        if len(names) == 1:
            return str(names[0])
    told = ", ".join(layers[:, 0]) or "none"
    raise ReviewError(
        f"{path}: {len(layers)} layers ({told}), none of them called {LAYER}; save one to a separate file"
    )


def _multi(outlines: Geometries) -> Geometries:
    """Polygons as multi-polygons of one; programs that save a layer may turn these into those."""
    single = shapely.get_type_id(outlines) == shapely.GeometryType.POLYGON
    outlines[single] = [shapely.multipolygons([outline]) for outline in outlines[single]]
    return outlines


def _read_parquet(path: Path) -> Layer:
    pyarrow = _pyarrow()
    with refusing(ReviewError, f"{path}: not GeoParquet", "give a layer that hadgeo has written"):
        read = pyarrow.parquet.read_table(path)
        geo = json.loads(read.schema.metadata[b"geo"])
        name = geo["primary_column"]
        crs = geo["columns"][name].get("crs")
        outlines = _multi(shapely.from_wkb(read[name].to_numpy()))
        table = {column: read[column].to_numpy() for column in read.column_names if column != name}
        return Layer(table, outlines, None if crs is None else pyproj.CRS.from_json_dict(crs))


def with_fields(path: Path, layer: Layer, fields: Mapping[str, npt.NDArray[Any]]) -> bytes:
    """The content of a file with some text fields replaced, or added at the end.

    Everything else in a GeoPackage, such as styles and other layers, stays as it is.

    Args:
        path: The file: GeoPackage, GeoJSON or GeoParquet.
        layer: What `read_layer` has read of it.
        fields: Values by name, (object,).

    Raises:
        ParameterError: It has none of these formats.
        ReviewError: The GeoPackage is damaged, or open in another program.
        MissingExtraError: It is GeoParquet, and pyarrow is not installed.
    """
    driver = check_suffix(path)
    if driver != "GPKG":
        table = {**{name: column for name, column in layer.table.items() if name not in fields}, **fields}
        return Layer(table, layer.outlines, layer.crs).encoded(driver)
    try:
        return _changed(path.read_bytes(), _layer_of(path), layer.table["id"], fields)
    except sqlite3.Error as error:
        raise ReviewError(
            f"{path}: its fields cannot be changed ({error}); close it in other programs, or save it anew"
        ) from None


def _changed(content: bytes, name: str, ids: npt.NDArray[Any], fields: Mapping[str, npt.NDArray[Any]]) -> bytes:
    """A GeoPackage, which is an SQLite database, with some fields of a layer set."""
    quoted = _quoted(name)
    with closing(sqlite3.connect(":memory:")) as database:
        database.deserialize(content)
        # Triggers that keep the spatial index name functions that only GDAL has; they do not run when texts change.
        for function in _SPATIAL:
            database.create_function(function, 1, _not_here)
        there = {row[1] for row in database.execute(f"PRAGMA table_info({quoted})")}
        for field in fields:
            if field not in there:
                database.execute(f"ALTER TABLE {quoted} ADD COLUMN {_quoted(field)} TEXT")
        sets = ", ".join(f"{_quoted(field)} = ?" for field in fields)
        rows = zip(*(column.tolist() for column in (*fields.values(), ids)), strict=True)
        database.executemany(f"UPDATE {quoted} SET {sets} WHERE id = ?", rows)  # noqa: S608 (names are quoted)
        database.commit()
        return database.serialize()


def _quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'


def _not_here(_: Any) -> None:
    raise NotImplementedError


def _pyarrow() -> Any:
    try:
        import pyarrow
        import pyarrow.parquet
    except ImportError as error:
        raise MissingExtraError(
            "GeoParquet needs pyarrow: pip install 'hadgeo[vector]', or write .gpkg or .geojson"
        ) from error
    return pyarrow
