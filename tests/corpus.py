"""What is right for each file that hadgeo is tried on; values come from the files' makers or from other readers.

Samples of real scenes were read with rasterio, scipy and h5py; those of the made ones follow from how they were made.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

#: Warnings that name what a file lacks.
NO_CRS, NO_TRANSFORM, NO_WAVELENGTHS = "no coordinate reference system", "no transform", "no wavelengths"

#: First and last, NaN where it is not known, and how many are not known.
Spectrum = tuple[float, float, int]


@dataclass(frozen=True)
class Expected:
    """What is known of a cube.

    Attributes:
        shape: Bands, rows, columns.
        samples: Decoded values at (band, row, column), from 0.
        crs: EPSG code, a part of its name where it has none, or None.
        transform: The affine, or None.
        empty: Pixels without data in any band.
        partly: Pixels without data in some bands, but not in all.
        wavelength: In nm, or None.
        fwhm: In nm, or None.
        bad: How many bands the file calls bad, or hadgeo does because of what it says of them.
        assumed: Key words of each line, in order.
        warnings: Likewise.
    """

    shape: tuple[int, int, int]
    samples: dict[tuple[int, int, int], float]
    crs: int | str | None = None
    transform: tuple[float, float, float, float, float, float] | None = None
    empty: int = 0
    partly: int = 0
    wavelength: Spectrum | None = None
    fwhm: Spectrum | None = None
    bad: int = 0
    assumed: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True)
class Refused:
    """A file that is no cube.

    Attributes:
        words: Key words of the message.
    """

    words: tuple[str, ...]


def _matlab(shape: tuple[int, int, int], samples: dict[tuple[int, int, int], float]) -> Expected:
    return Expected(shape, samples, warnings=(NO_CRS, NO_WAVELENGTHS))


TRUTH = {
    "truth/HYDICE-II_BS3LNet.mat": _matlab((162, 80, 60), {(0, 0, 0): 23, (54, 40, 20): 160, (1, 79, 0): 42}),
    "truth/HYDICE_norm_ScoreAD.mat": _matlab(
        (162, 100, 80), {(0, 0, 0): 0.05574324324324324, (54, 50, 26): 0.17905405405405406, (1, 99, 0): 0.0405405405}
    ),
    "truth/abu-airport-1.mat": _matlab((205, 100, 100), {(0, 0, 0): 641, (68, 50, 33): 967, (1, 99, 0): 560}),
    "truth/abu-airport-2.mat": _matlab((205, 100, 100), {(0, 0, 0): 710, (68, 50, 33): 878, (1, 99, 0): 689}),
    "truth/abu-beach-1.mat": _matlab(
        (188, 150, 150), {(0, 0, 0): 492, (62, 75, 50): 13, (187, 149, 149): 0, (1, 149, 0): 492}
    ),
    "truth/abu-beach-2.mat": _matlab(
        (193, 100, 100), {(0, 0, 0): 1027, (64, 50, 33): 43, (192, 99, 99): 0, (1, 99, 0): 1156}
    ),
    "truth/abu-urban-1.mat": _matlab((204, 100, 100), {(0, 0, 0): 1000, (68, 50, 33): 1778, (1, 99, 0): 1119}),
    "truth/abu-urban-3.mat": _matlab((191, 100, 100), {(0, 0, 0): 498, (63, 50, 33): 492, (1, 99, 0): 653}),
}

_BERLIN = Expected(
    (177, 80, 60),
    {(0, 0, 0): 334, (59, 40, 20): 1442, (176, 79, 59): 807, (1, 79, 0): 505},
    32633,
    (30, 0, 383472.37, 0, -30, 5818302.35),
    wavelength=(460, 2409, 0),
    fwhm=(5.8, 9.1, 0),
)
_HYMAP = Expected(
    (111, 100, 67),
    {(0, 0, 0): 0.0294, (37, 50, 22): 0.0769, (110, 99, 66): 0.073, (1, 99, 0): 0.054},
    32633,
    (9, 0, 383851.349, 0, -9, 5819308.225),
    wavelength=(455.4, 2446.5, 0),
)
_SAN_DIEGO = Expected(
    (189, 90, 90),
    {(0, 0, 0): 1422, (63, 45, 30): 2908, (188, 89, 89): 1581, (1, 89, 0): 1144},
    26711,
    (3.5, 0, 480805.4, 0, -3.5, 3618830.5),
    wavelength=(429.410004, 2470.459961, 0),
    fwhm=(9.11, 9.88, 0),
)
_ENMAP = Expected(
    (224, 64, 128),
    {(0, 0, 0): 350, (74, 32, 42): 0, (223, 63, 127): 830, (1, 63, 0): 1088, (130, 5, 5): math.nan},
    32633,
    (30, 0, 365055, 0, -30, 5807085),
    # Bands 131 to 136 hold nodata throughout.
    partly=64 * 128,
    wavelength=(418.24, 2445.53, 0),
    fwhm=(6.99561, 7.1581, 0),
    bad=6,
)

GEO = {
    "geo/EnMAP_BerlinUrbanGradient.bsq": _BERLIN,
    "geo/EnMAP_BerlinUrbanGradient.hdr": _BERLIN,
    "geo/HyMap02_Berlin_Urban_Gradient_2009.bsq": _HYMAP,
    "geo/HyMap02_Berlin_Urban_Gradient_2009.hdr": _HYMAP,
    "geo/SDData": _SAN_DIEGO,
    "geo/SDData.hdr": _SAN_DIEGO,
    "geo/SDDataGt.bmp": Expected((1, 90, 90), {(0, 45, 30): 0}, warnings=(NO_TRANSFORM, NO_CRS, NO_WAVELENGTHS)),
    "geo/enmap_potsdam_block_128x64.tif": _ENMAP,
    "geo/enmap_potsdam_mosaic_160x192.tif": replace(
        _ENMAP,
        shape=(224, 192, 160),
        samples={(0, 0, 0): 660, (74, 96, 53): 3178, (223, 191, 159): 341, (1, 191, 0): math.nan},
        transform=(30, 0, 364095, 0, -30, 5809965),
        empty=12288,
        partly=30720 - 12288,
    ),
    "geo/sandiego_aviris1_gtGCL.tif": Expected(
        (1, 100, 100),
        {(0, 50, 33): 0},
        26711,
        (3.5, 0, 480710.9, 0, -3.5, 3618830.5),
        warnings=(NO_WAVELENGTHS,),
    ),
    "geo/sandiego_aviris1_utm11_nad27.tif": replace(
        _SAN_DIEGO,
        shape=(189, 100, 100),
        samples={(0, 0, 0): 1674, (63, 50, 33): 1877, (188, 99, 99): 3268, (1, 99, 0): 1960},
        transform=(3.5, 0, 480710.9, 0, -3.5, 3618830.5),
    ),
}

_FILL = "-0.005 in every band at the border: treated as nodata where all bands hold it ({} of 100 pixels)"
_AVIRIS_2014 = Expected(
    (432, 10, 10),
    {(0, 0, 0): -0.11606122, (144, 5, 3): 0.26573521, (431, 9, 9): 0.0966146, (1, 9, 0): -0.10195728},
    32613,
    (1.865627, 2.47577, 277811.628, 2.47577, -1.865627, 4483607.425),
    wavelength=(346.2995778, 2505.0363678, 0),
    fwhm=(5.55165, 6.02852, 0),
    bad=59,
)
_AVIRIS_2015 = replace(
    _AVIRIS_2014,
    samples={(0, 0, 0): -0.11526907, (144, 5, 3): math.nan},
    crs=32612,
    transform=(1.098189, -2.466573, 736600.089, -2.466573, -1.098189, 4078126.75),
    empty=60,
    assumed=(_FILL.format(60),),
)
_AVIRIS_FILL = replace(
    _AVIRIS_2014, samples={(0, 0, 0): math.nan, (144, 5, 3): math.nan}, empty=100, assumed=(_FILL.format(100),)
)
_AVIRIS_PIXEL = replace(
    _AVIRIS_2015,
    shape=(432, 1, 1),
    samples={(0, 0, 0): -0.11251666, (144, 0, 0): 0.34867212, (431, 0, 0): 0.22217776},
    empty=0,
    assumed=(),
)
_AVIRIS_2008 = Expected(
    (224, 1, 1),
    {(0, 0, 0): 1072, (74, 0, 0): 2813, (223, 0, 0): 5},
    32617,
    (14.612507, -7.445444, 663139.01, -7.445444, -14.612507, 4406866.6),
    wavelength=(365.9298, 2497.036, 0),
    fwhm=(9.852108, 9.999434, 0),
)
#: The images of EnMAP-Box, which differ in where their wavelengths stand.
_BOX = Expected(
    (2, 2, 5),
    {(0, 0, 0): 0, (0, 1, 1): 6, (1, 1, 4): 19, (1, 1, 0): 15},
    4326,
    (0.25, 0, 0, 0, -0.25, 0),
    wavelength=(400, 500, 0),
)
_BOX_FWHM = replace(_BOX, fwhm=(10, 20, 0))

ODD = {
    **dict.fromkeys(
        (f"odd/ang20140912t192359_corr_v1c_img_2580-2590_540-550.{end}" for end in ("hdr", "img")), _AVIRIS_2014
    ),
    **dict.fromkeys(
        (f"odd/ang20140912t192359_corr_v1c_img_400-410_10-20.{end}" for end in ("hdr", "img")), _AVIRIS_FILL
    ),
    **dict.fromkeys(
        (f"odd/ang20150422t163638_corr_v1e_img_4000-4010_550-560.{end}" for end in ("hdr", "img")), _AVIRIS_2015
    ),
    **dict.fromkeys((f"odd/ang20150422t163638_corr_v1e_img_987_654.{end}" for end in ("hdr", "img")), _AVIRIS_PIXEL),
    **dict.fromkeys((f"odd/f080702t01p00r08rdn_c_sc01_ort_img_123_456.{end}" for end in ("hdr", "img")), _AVIRIS_2008),
    "odd/NEON_D01_HARV_DP3_726000_4699000_reflectance_crop.tif": Expected(
        (426, 40, 40),
        {(0, 0, 0): 1030, (142, 20, 13): 2530, (425, 39, 39): 3294, (1, 39, 0): 290},
        None,
        (1, 0, 726491, 0, -1, 4699078.4),
        warnings=(NO_CRS, NO_WAVELENGTHS),
    ),
    "odd/HYDICE1_162_AutoAD_v73.mat": _matlab(
        (162, 80, 100), {(0, 0, 0): 0.12056737393140793, (54, 40, 33): 0.2549999952316284, (1, 79, 0): 0.326241135597}
    ),
    "odd/HYDICE_174_lzw.mat": _matlab(
        (174, 80, 100), {(0, 0, 0): 0.0760135135, (58, 40, 33): 0.226351351, (1, 79, 0): 0.204391891891}
    ),
    "odd/MUUFL_an_hsi_image_sub_for_demo.mat": Expected(
        (72, 51, 88),
        {(0, 0, 0): 0.0048914887, (24, 25, 29): 0.19280945, (71, 50, 87): math.nan},
        empty=604,
        wavelength=(367.700012, 1043.400024, 0),
        warnings=(NO_CRS,),
    ),
    "odd/enmap.tif": replace(
        _BERLIN,
        shape=(177, 7, 10),
        samples={(0, 0, 0): 637, (59, 3, 3): 937, (176, 6, 9): 1135, (1, 6, 0): 392},
        transform=(30, 0, 384342.37, 0, -30, 5818392.35),
        fwhm=None,
    ),
    "odd/hymap.tif": Expected(
        (3, 58, 83),
        {(0, 0, 0): 155, (1, 29, 27): 13, (2, 57, 82): 56, (1, 57, 0): 16},
        32633,
        (3.6, 0, 384341.17, 0, -3.6, 5818393.55),
        partly=1,
        warnings=("a picture rather than spectra",),
    ),
    "odd/enmapbox_envidomain_bandlevel.tif": replace(_BOX, bad=1),
    "odd/enmapbox_envidomain_dslevel.tif": replace(_BOX, bad=1),
    "odd/envi_wl_fwhm.bsq": replace(_BOX_FWHM, bad=1),
    "odd/envi_wl_fwhm.hdr": replace(_BOX_FWHM, bad=1),
    **dict.fromkeys((f"odd/envi_wl_implicit_{unit}.{end}" for unit in ("nm", "um") for end in ("bsq", "hdr")), _BOX),
    "odd/gdal_no_info.tif": replace(_BOX, wavelength=None, warnings=(NO_WAVELENGTHS,)),
    "odd/gdal_wl_fwhm.tif": _BOX_FWHM,
    "odd/gdal_wl_only.tif": _BOX,
    "odd/staclike.tif": replace(_BOX, wavelength=(4000, 5000, 0), fwhm=(100, 200, 0)),
}

#: The cube of the reports, as it is read where nothing goes wrong.
BASE = Expected(
    (16, 30, 24),
    {(0, 0, 0): 1000, (1, 2, 3): 1111, (15, 20, 5): 1880},
    32612,
    (2, 0, 500000, 0, -2, 4000000),
    wavelength=(450, 2200, 0),
)
_NO_BANDS_KNOWN = replace(BASE, wavelength=None, warnings=(NO_WAVELENGTHS,))
_NOWHERE = replace(BASE, crs=None, transform=None)
#: 120 pixels in the corner of row 0 and column 0 are fill.
_CORNER = replace(BASE, samples={(0, 0, 0): math.nan, (1, 2, 3): math.nan, (15, 20, 5): 1880}, empty=120)
_REFLECTANCE = {(0, 0, 0): 0.1, (1, 2, 3): 0.1111, (15, 20, 5): 0.188}
_EMIT = replace(_NOWHERE, fwhm=(8.5, 8.5, 0), bad=4, warnings=("in sensor geometry",))
_IN_NM = "wavelengths of 0.45 to 2.2 cannot be in nm, contrary to the file: assumed to be in µm"


def _pair(folder: str, expected: Expected | Refused, data: str = "cube.img") -> dict[str, Expected | Refused]:
    """The data and their header, which is named as often."""
    return {f"reports/{folder}/{data}": expected, f"reports/{folder}/cube.hdr": expected}


REPORTS: dict[str, Expected | Refused] = {
    **_pair(
        "01_rot_ref",
        replace(
            BASE,
            transform=(1.732051, 1, 499964.215390, 1, -1.732051, 4000013.980762),
            warnings=("19.89 m away, since GDAL rotates it about the first pixel",),
        ),
    ),
    **_pair(
        "70_rot_180.00000000",
        replace(BASE, transform=(-2, 0, 500000, 0, 2, 4000000), warnings=("96 m away, since GDAL interprets",)),
    ),
    **_pair(
        "07_datum_5",
        replace(
            BASE,
            crs="OSGB36 / UTM zone 32N",
            assumed=("the datum 'Ordnance Survey of Great Britain 36'",),
            warnings=("GDAL-based programs assume the coordinate reference system EPSG:32632",),
        ),
    ),
    **_pair(
        "36_contradict",
        replace(
            BASE,
            crs=4326,
            transform=(5, 0, 564545, 0, -10, 2884010),
            warnings=("564545, 2884010 are not degrees",),
        ),
    ),
    **_pair(
        "04_rot180_arbitrary",
        replace(
            BASE,
            crs="Arbitrary",
            transform=(-1, 0, -0.5, 0, 1, -0.5),
            warnings=("does not tell where on Earth", "48 units away"),
        ),
    ),
    **_pair(
        "14_smoothing",
        replace(_CORNER, assumed=("the same values, -10199 to -9799 from band to band",)),
    ),
    **_pair(
        "15_scale_fill",
        replace(
            _CORNER,
            samples={(0, 0, 0): math.nan, (15, 20, 5): 0.188},
            assumed=("-9999 in every band at the border: treated as nodata (120 of 720",),
        ),
    ),
    "reports/16c_neg_fill_tif/cube.tif": replace(
        _CORNER,
        wavelength=None,
        assumed=("-9999 in every band at the border: treated as nodata (120 of 720",),
        warnings=(NO_WAVELENGTHS,),
    ),
    "reports/20_alpha/cube.tif": replace(
        _CORNER,
        shape=(6, 30, 24),
        samples={(0, 0, 0): math.nan, (0, 29, 23): 1195},
        wavelength=None,
        assumed=("band 7 is an alpha or mask band",),
        warnings=(NO_WAVELENGTHS,),
    ),
    **_pair("13a_um_said_nm", replace(BASE, assumed=(_IN_NM,))),
    "reports/73_stac_nm/cube.tif": replace(
        BASE,
        fwhm=(10, 10, 0),
        assumed=("wavelengths of 450 to 2200 cannot be in µm, contrary to the file: assumed to be in nm",),
    ),
    **_pair(
        "13c_fwhm_other",
        replace(
            BASE, fwhm=(10, 10, 0), assumed=("widths of 10 cannot be in µm like the wavelengths: assumed to be in nm",)
        ),
    ),
    **_pair(
        "46_zero_wl",
        replace(BASE, wavelength=(math.nan, 2200, 2), bad=2, warnings=("2 of 16 wavelengths are zero",)),
    ),
    # An HFA file and a header that belongs to the raw one beside it.
    "reports/17_hfa/cube.img": replace(
        _NO_BANDS_KNOWN, samples={(0, 0, 0): 2496, (15, 29, 23): 1195}, transform=(2, 0, 600000, 0, -2, 4100000)
    ),
    **_pair("17_hfa", BASE, "cube.bsq"),
    "reports/22b_emit_like/two.nc": _EMIT,
    "reports/22b_emit_like/full.nc": _EMIT,
    "reports/23_neon/neon.h5": replace(BASE, samples=_REFLECTANCE, transform=(1, 0, 500000, 0, -1, 4000000)),
    "reports/25_tanager/tanager.h5": replace(BASE, transform=(30, 0, 500000, 0, -30, 4000000)),
    "reports/26_aviris3/AV3_RFL_ORT.nc": BASE,
    "reports/27_xarray/scaled.nc": replace(
        _NOWHERE, samples=_REFLECTANCE, wavelength=None, warnings=(NO_TRANSFORM, NO_CRS, NO_WAVELENGTHS)
    ),
    "reports/27_xarray/yxz.nc": BASE,
    **dict.fromkeys(
        (f"reports/74_zarr/{name}.zarr" for name in ("cube", "pixel", "single")),
        replace(_NO_BANDS_KNOWN, assumed=("16 arrays, /Band1 (Y 30, X 24) to /Band16",)),
    ),
    "reports/85_mat/struct.mat": replace(_NOWHERE, warnings=(NO_CRS,)),
    "reports/85_mat/wl_mismatch.mat": replace(
        _NOWHERE,
        wavelength=None,
        assumed=("the last axis of data 30x24x16 taken as the band axis",),
        warnings=(NO_CRS, NO_WAVELENGTHS, "17 values of wavelength for 16 bands: ignored"),
    ),
    **_pair("11_numpy_list", BASE),
    **_pair("33_comments", BASE),
    **_pair("10_wavelengths_plural", BASE),
    **_pair("49_decimal_comma", replace(BASE, assumed=("decimal commas in wavelength",))),
    **_pair("65_hyspex", BASE, "cube.hyspex"),
    **_pair("55_sli", Refused(("spectral library", "not an image"))),
    "reports/79_rfl_nohdr/cube.rfl": Refused(("header is missing", "cube.rfl.hdr", "cube.hdr")),
    **_pair("31_esri", replace(_NOWHERE, warnings=(NO_TRANSFORM, NO_CRS)), "cube.bil"),
    "reports/37_wyvern/cube.tif": replace(BASE, assumed=("wavelengths taken from the band names",)),
    **dict.fromkeys(
        (
            "reports/77_enmap",
            "reports/77_enmap/ENMAP01-____L2A-DT0000001-METADATA.XML",
            "reports/77_enmap/ENMAP01-____L2A-DT0000001-SPECTRAL_IMAGE.TIF",
        ),
        replace(BASE, samples=_REFLECTANCE, fwhm=(10, 10, 0)),
    ),
}

FILES: dict[str, Expected | Refused] = {**TRUTH, **GEO, **ODD, **REPORTS}
