"""Small files with the published structure of each product. Stored samples are all different: what goes where shows."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import numpy.typing as npt
import rasterio
from affine import Affine
from rasterio.errors import NotGeoreferencedWarning

from hadgeo.formats.source import Source

BANDS, ROWS, COLS = 6, 5, 4
WAVELENGTHS = (450.0, 550.0, 650.0, 850.0, 1650.0, 2200.0)

#: The UTM zone that files lie in by default, and their outer corner.
EPSG, LEFT, TOP = 32612, 500000.0, 4000000.0


def numbered(bands: int = BANDS, rows: int = ROWS, cols: int = COLS, dtype: str = "f4") -> npt.NDArray[Any]:
    """A cube (band, y, x) in which every sample has a value of its own, from 1000."""
    return np.arange(1000, 1000 + bands * rows * cols, dtype=dtype).reshape(bands, rows, cols)


def read_all(source: Source) -> npt.NDArray[Any]:
    """The whole of a cube."""
    return source.read(slice(0, source.shape[1]), slice(0, source.shape[2]))


def put(group: Any, name: str, values: Any, dims: Sequence[str] = (), **attributes: Any) -> Any:
    """A dataset with dimensions as NetCDF 4 has them: scales in the root, made where they are missing."""
    dataset = group.create_dataset(name, data=values)
    root = dataset.file
    for axis, dim in enumerate(dims):
        if dim not in root:
            scale = root.create_dataset(dim, data=np.zeros(dataset.shape[axis], dtype=">f4"))
            scale.make_scale(f"This is a netCDF dimension but not a netCDF variable.{dataset.shape[axis]:10d}")
        if root[dim] != dataset:
            dataset.dims[axis].attach_scale(root[dim])
    dataset.attrs.update(attributes)
    return dataset


def emit(
    path: Path,
    cube: npt.NDArray[Any] | None = None,
    *,
    name: str = "reflectance",
    order: Sequence[str] = ("downtrack", "crosstrack", "bands"),
    without: Sequence[str] = (),
    **attributes: Any,
) -> npt.NDArray[Any]:
    """EMIT L1B or L2A; returns the stored cube (band, y, x)."""
    cube = numbered() if cube is None else cube
    bands, rows, cols = cube.shape
    stored = cube.transpose([("bands", "downtrack", "crosstrack").index(dim) for dim in order])
    with h5py.File(path, "w") as file:
        file.attrs["geotransform"] = [-116.5, 0.00054, 0.0, 32.86, 0.0, -0.00054]
        file.attrs["spatial_ref"] = rasterio.CRS.from_epsg(4326).to_wkt()
        fill = {"_FillValue": np.array([-9999], stored.dtype)}
        put(file, name, stored, order, **(fill | attributes))
        parameters = file.create_group("sensor_band_parameters")
        lists = {
            "wavelengths": np.linspace(400, 2400, bands).astype("f4"),
            "fwhm": np.full(bands, 8.5, dtype="f4"),
            "good_wavelengths": (np.arange(bands) != 2).astype("u1"),
        }
        for key, values in lists.items():
            if key not in without:
                put(parameters, key, values, ["bands"], units="nm")
        if "location" not in without:
            location = file.create_group("location")
            put(location, "glt_x", np.ones((rows + 2, cols + 1), dtype="i4"), ["ortho_y", "ortho_x"])
            put(location, "glt_y", np.ones((rows + 2, cols + 1), dtype="i4"), ["ortho_y", "ortho_x"])
            put(location, "lat", np.full((rows, cols), 32.0), ["downtrack", "crosstrack"])
    return cube


def prisma(
    path: Path,
    *,
    level: str = "2D",
    vnir: npt.NDArray[Any] | None = None,
    swir: npt.NDArray[Any] | None = None,
    vnir_centres: Sequence[float] = (970.0, 700.0, 500.0, 0.0),
    swir_centres: Sequence[float] = (2200.0, 1600.0, 990.0, 950.0),
    without: Sequence[str] = (),
    **attributes: Any,
) -> tuple[npt.NDArray[Any], npt.NDArray[Any]]:
    """PRISMA; returns the stored cubes (row, band, column), from long to short waves as in the product."""
    vnir = _prisma_cube(100) if vnir is None else vnir
    swir = _prisma_cube(20000) if swir is None else swir
    rows, _, cols = vnir.shape
    known: dict[str, Any] = {
        "List_Cw_Vnir": np.array(vnir_centres, dtype="f4"),
        "List_Cw_Swir": np.array(swir_centres, dtype="f4"),
        "List_Fwhm_Vnir": np.full(len(vnir_centres), 11.5, dtype="f4"),
        "List_Fwhm_Swir": np.full(len(swir_centres), 10.5, dtype="f4"),
        "List_Cw_Vnir_Flags": (np.array(vnir_centres) > 0).astype("u1"),
        "List_Cw_Swir_Flags": np.ones(len(swir_centres), dtype="u1"),
        "Epsg_Code": np.int32(EPSG),
        "Product_ULcorner_easting": LEFT + 15,
        "Product_ULcorner_northing": TOP - 15,
        "Product_LRcorner_easting": LEFT + 30 * cols - 15,
        "Product_LRcorner_northing": TOP - 30 * rows + 15,
    }
    if level == "1":
        known |= {"ScaleFactor_Vnir": 100.0, "ScaleFactor_Swir": 50.0, "Offset_Vnir": 0.0, "Offset_Swir": 2.0}
    else:
        known |= {"L2ScaleVnirMin": 0.0, "L2ScaleVnirMax": 1.5, "L2ScaleSwirMin": 0.1, "L2ScaleSwirMax": 1.1}
    kind = "SAT_ERR" if level == "1" else "L2_ERR"
    with h5py.File(path, "w") as file:
        file.attrs.update({key: value for key, value in (known | attributes).items() if key not in without})
        fields = file.create_group(f"HDFEOS/SWATHS/PRS_L{level}_HCO/Data Fields")
        for name, cube in (("VNIR", vnir), ("SWIR", swir)):
            if f"{name}_Cube" not in without:
                fields[f"{name}_Cube"] = cube
                fields[f"{name}_PIXEL_{kind}_MATRIX"] = np.zeros(cube.shape, dtype="u1")
        if level == "1":
            fields["Cloud_Mask"] = np.zeros((rows, cols), dtype="u1")
            fields["LandCover_Mask"] = np.full((rows, cols), 3, dtype="u1")
    return vnir, swir


def _prisma_cube(first: int) -> npt.NDArray[Any]:
    return np.arange(first, first + ROWS * 4 * COLS, dtype="u2").reshape(ROWS, 4, COLS)


def neon(
    path: Path,
    cube: npt.NDArray[Any] | None = None,
    *,
    site: str = "SJER",
    map_info: str = f"UTM,  1.000,  1.000, {LEFT}, {TOP}, 1.0, 1.0, 12, North, WGS-84, units=Meters, 0",
    epsg: Any = b"32612",
    without: Sequence[str] = (),
    **attributes: Any,
) -> npt.NDArray[Any]:
    """NEON AOP reflectance; returns the stored cube (band, y, x)."""
    cube = numbered(dtype="i2") if cube is None else cube
    with h5py.File(path, "w") as file:
        reflectance = file.create_group(f"{site}/Reflectance")
        reflectance.attrs["Band_Window_1_Nanometers"] = [1340.0, 1445.0]
        reflectance.attrs["Band_Window_2_Nanometers"] = [1600.0, 1955.0]
        data = reflectance.create_dataset("Reflectance_Data", data=cube.transpose(1, 2, 0), chunks=(2, 3, 2))
        known = {"Scale_Factor": 10000.0, "Data_Ignore_Value": -9999.0, "Dimension_Labels": "Line, Sample, Wavelength"}
        data.attrs.update({key: value for key, value in (known | attributes).items() if key not in without})
        metadata = reflectance.create_group("Metadata")
        if "Spectral_Data" not in without:
            wavelength = metadata.create_dataset("Spectral_Data/Wavelength", data=np.array(WAVELENGTHS))
            wavelength.attrs["Units"] = "nanometers"
            metadata["Spectral_Data/FWHM"] = np.full(BANDS, 5.8)
        metadata["Coordinate_System/Map_Info"] = map_info
        if epsg is not None:
            metadata["Coordinate_System/EPSG Code"] = epsg
        metadata["Ancillary_Imagery/Aspect"] = np.zeros(cube.shape[1:])
        if "Haze_Cloud_Water_Map" not in without:
            metadata["Ancillary_Imagery/Haze_Cloud_Water_Map"] = np.full(cube.shape[1:], 5, dtype="u1")
    return cube


_STRUCTURE = (
    'GROUP=GridStructure\nGROUP=GRID_1\nGridName="HYP"\nXDim={cols}\nYDim={rows}\n'
    "UpperLeftPointMtrs=({left:.2f},{top:.2f})\nLowerRightMtrs=({right:.2f},{bottom:.2f})\n"
    "Projection=HE5_GCTP_UTM\nZoneCode={zone}\nEND_GROUP=GRID_1\nEND_GROUP=GridStructure\n"
)


def tanager(
    path: Path,
    cube: npt.NDArray[Any] | None = None,
    *,
    kind: str = "GRIDS",
    name: str = "surface_reflectance",
    zone: int = 12,
    framing: Mapping[str, Any] | None = None,
    longitude: npt.NDArray[Any] | None = None,
    latitude: npt.NDArray[Any] | None = None,
    without: Sequence[str] = (),
) -> npt.NDArray[Any]:
    """Tanager; returns the stored cube (band, y, x)."""
    import json

    cube = numbered() if cube is None else cube
    bands, rows, cols = cube.shape
    with h5py.File(path, "w") as file:
        group = file.create_group(f"HDFEOS/{kind}/HYP")
        fields = group.create_group("Data Fields")
        data = fields.create_dataset(name, data=cube)
        known = {
            "_FillValue": np.float32(-9999),
            "wavelengths": np.linspace(376, 2499, bands),
            "fwhm": np.full(bands, 5.6),
            "good_wavelengths": (np.arange(bands) != 1).astype("u1"),
        }
        data.attrs.update({key: value for key, value in known.items() if key not in without})
        for flag in ("beta_cloud_mask", "beta_cirrus_mask", "nodata_pixels"):
            if flag not in without:
                fields[flag] = np.zeros((rows, cols), dtype="u4")
        if kind == "GRIDS":
            structure = _STRUCTURE.format(
                rows=rows, cols=cols, left=LEFT, top=TOP, right=LEFT + 30 * cols, bottom=TOP - 30 * rows, zone=zone
            )
            file.create_group("HDFEOS INFORMATION")["StructMetadata.0"] = np.bytes_(structure)
            return cube
        geolocation = group.create_group("Geolocation Fields")
        if framing is not None:
            geolocation.attrs["Planet_Ortho_Framing"] = json.dumps(framing)
        if longitude is not None and latitude is not None:
            geolocation["Longitude"], geolocation["Latitude"] = longitude, latitude
    return cube


def aviris(
    path: Path,
    cube: npt.NDArray[Any] | None = None,
    *,
    group: str = "reflectance",
    order: Sequence[str] = ("wavelength", "northing", "easting"),
    epsg: int = EPSG,
    step: float = -2.0,
    ortho: bool = True,
    without: Sequence[str] = (),
    **attributes: Any,
) -> npt.NDArray[Any]:
    """AVIRIS-3 or AVIRIS-NG NetCDF; returns the stored cube (band, y, x)."""
    cube = numbered() if cube is None else cube
    bands, rows, cols = cube.shape
    axes = ("wavelength", "northing", "easting") if ortho else ("wavelength", "lines", "samples")
    with h5py.File(path, "w") as file:
        if ortho:
            coordinates = {
                "northing": TOP + step * (np.arange(rows) + 0.5),
                "easting": LEFT + 2 * (np.arange(cols) + 0.5),
            }
            for dim in coordinates.keys() - set(without):
                file[dim] = coordinates[dim]
                file[dim].make_scale(dim)
            mapping = file.create_dataset("transverse_mercator", data=np.int32(0))
            mapping.attrs["grid_mapping_name"] = "transverse_mercator"
            mapping.attrs["spatial_ref"] = mapping.attrs["crs_wkt"] = rasterio.CRS.from_epsg(epsg).to_wkt()
        holder = file.create_group(group)
        wavelength = holder.create_dataset("wavelength", data=np.linspace(380, 2500, bands).astype("f4"))
        wavelength.make_scale("wavelength")
        wavelength.attrs["units"] = "nanometers"
        stored = cube.transpose([axes.index(dim) for dim in (order if ortho else axes)])
        data = holder.create_dataset(group, data=stored)
        for axis, dim in enumerate(order if ortho else axes):
            if dim in file or dim == "wavelength":
                data.dims[axis].attach_scale(wavelength if dim == "wavelength" else file[dim])
            else:
                data.dims[axis].label = dim
        known = {"_FillValue": np.array([-9999], stored.dtype), "grid_mapping": "transverse_mercator"}
        data.attrs.update({key: value for key, value in (known | attributes).items() if key not in without})
        if "fwhm" not in without:
            holder["fwhm"] = np.full(bands, 7.4, dtype="f4")
    return cube


def pace_l1(path: Path, quantity: str = "rhot") -> dict[str, npt.NDArray[Any]]:
    """PACE OCI L1B; returns the stored cubes (band, y, x) by detector."""
    centres = {"blue": [315.0, 597.5, 602.5], "red": [600.0, 605.0, 895.0], "SWIR": [940.0, 2258.0]}
    cubes = {}
    with h5py.File(path, "w") as file:
        parameters = file.create_group("sensor_band_parameters")
        observations = file.create_group("observation_data")
        for i, (name, values) in enumerate(centres.items()):
            put(parameters, f"{name}_wavelength", np.array(values, dtype="f4"), [f"{name}_bands"], units="nm")
            cubes[name] = numbered(len(values)) + 1000 * i
            dims = (f"{name}_bands", "scans", "pixels")
            put(observations, f"{quantity}_{name}", cubes[name], dims, _FillValue=np.array([-32767], "f4"))
        file.create_group("geolocation_data")["latitude"] = np.zeros((ROWS, COLS))
    return cubes


def pace_l2(path: Path, name: str = "rhos") -> npt.NDArray[Any]:
    """PACE OCI L2, packed; returns the stored cube (band, y, x)."""
    cube = numbered(dtype="i2")
    dims = ("number_of_lines", "pixels_per_line", "wavelength_3d")
    with h5py.File(path, "w") as file:
        parameters = file.create_group("sensor_band_parameters")
        put(parameters, "wavelength_3d", np.array(WAVELENGTHS), ["wavelength_3d"], units="nm")
        fields = file.create_group("geophysical_data")
        packed = {"_FillValue": np.array([-32767], "i2"), "scale_factor": 2e-6, "add_offset": 0.05}
        put(fields, name, cube.transpose(1, 2, 0), dims, **packed)
        flags = np.zeros((ROWS, COLS), dtype="i4")
        flags[1, 2], flags[3, 0] = 1 << 9, (1 << 4) | 1
        meanings = "ATMFAIL LAND PRODWARN HIGLINT HILT HISATZEN COASTZ SPARE STRAYLIGHT CLDICE"
        put(fields, "l2_flags", flags, dims[:2], flag_meanings=meanings, flag_masks=1 << np.arange(10, dtype="i4"))
    return cube


def write_tiff(
    path: Path, cube: npt.NDArray[Any], *, epsg: int | None = EPSG, size: float = 30.0, **profile: Any
) -> None:
    """A GeoTIFF without any metadata of bands."""
    place = {} if epsg is None else {"crs": f"EPSG:{epsg}", "transform": Affine(size, 0, LEFT, 0, -size, TOP)}
    bands, height, width = cube.shape
    shape = {"count": bands, "height": height, "width": width, "dtype": cube.dtype}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", NotGeoreferencedWarning)
        dataset = rasterio.open(path, "w", driver="GTiff", interleave="band", **shape, **place, **profile)
    with dataset:
        dataset.write(cube)


def enmap_xml(path: Path, bands: int, *, gain: Sequence[float] | None = None, offset: float = 0.0) -> None:
    """``METADATA.XML`` of EnMAP, as far as bands go."""
    gains = [0.0001] * bands if gain is None else gain
    described = "".join(
        f'<bandID number="{i + 1}"><wavelengthCenterOfBand>{420.5 + 10 * i}</wavelengthCenterOfBand>'
        f"<FWHMOfBand>{6.5 + i}</FWHMOfBand><GainOfBand>{gains[i]}</GainOfBand>"
        f"<OffsetOfBand>{offset}</OffsetOfBand></bandID>"
        for i in range(bands)
    )
    path.write_text(
        '<?xml version="1.0" encoding="UTF-8"?><level_X><specific><bandCharacterisation>'
        f"{described}</bandCharacterisation></specific></level_X>"
    )


def enmap(folder: Path, level: str = "L2A", **profile: Any) -> npt.NDArray[Any]:
    """EnMAP L1C or L2A in a folder; returns the stored cube."""
    folder.mkdir(exist_ok=True)
    stem = f"ENMAP01-____{level}-DT0000001867_20220724T104526Z_008_V010302_20230628T165614Z"
    cube = numbered(dtype="i2")
    write_tiff(folder / f"{stem}-SPECTRAL_IMAGE.TIF", cube, **profile)
    enmap_xml(folder / f"{stem}-METADATA.XML", BANDS)
    return cube


def desis(folder: Path, level: str = "L2A", **profile: Any) -> npt.NDArray[Any]:
    """DESIS in a folder; returns the stored cube."""
    folder.mkdir(exist_ok=True)
    stem = f"DESIS-HSI-{level}-DT0485529167_001-20220712T223540-V0220"
    cube = numbered(dtype="i2")
    write_tiff(folder / f"{stem}-SPECTRAL_IMAGE.tif", cube, **profile)
    bands = "".join(
        f"<band><bandNumber>{i + 1}</bandNumber><wavelengthCenterOfBand>{401.5 + 2.5 * i}</wavelengthCenterOfBand>"
        f"<wavelengthWidthOfBand>{3.5 + i}</wavelengthWidthOfBand><gainOfBand>{0.001 * (i + 1)}</gainOfBand>"
        f"<offsetOfBand>{0.5 * i}</offsetOfBand></band>"
        for i in reversed(range(BANDS))
    )
    (folder / f"{stem}-METADATA.xml").write_text(
        '<?xml version="1.0"?><hsi_doc xmlns="http://example.org/desis"><specific>'
        "<interiorOrientation><band><bandNumber>1</bandNumber></band></interiorOrientation>"
        f"<bandCharacterisation>{bands}</bandCharacterisation></specific></hsi_doc>"
    )
    return cube


#: A file, or a folder, of each product under a name that its agency gives, and what makes it.
PRODUCTS: dict[str, tuple[str, Callable[[Path], Any]]] = {
    "emit": ("EMIT_L2A_RFL_001_20220903T163129_2224611_012.nc", emit),
    "prisma": ("PRS_L2D_STD_20201107101404_20201107101408_0001.he5", prisma),
    "pace": ("PACE_OCI.20240423T184658.L1B.V2.nc", pace_l1),
    "pace-2": ("PACE_OCI.20240423T184658.L2.SFREFL.V3.nc", pace_l2),
    "neon": ("NEON_D17_SJER_DP1_20190401_145110_reflectance.h5", neon),
    "tanager": ("20250504_092952_87_4001_ortho_sr_hdf5.h5", tanager),
    "aviris": ("AV320240905t181848_000_L2A_OE_f576f24d_RFL_ORT.nc", aviris),
    "enmap": ("enmap", enmap),
    "desis": ("desis", desis),
}
