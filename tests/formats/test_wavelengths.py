"""What files say of their bands: units against values, lists as people and programs write them, names."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from hadgeo.bands import default_bands
from hadgeo.cube import open_cube, source_of
from hadgeo.errors import CubeError, ModelError
from hadgeo.formats import open_source
from hadgeo.formats.enmap_metadata import enmap_bands
from hadgeo.formats.wavelengths import COLOURS, PICTURE, Spectral, first_known, from_names, spectral
from hadgeo.pictures.composite import colour_bands
from hadgeo.run.model_file import Spectrum
from hadgeo.run.selection import match_bands

from .envi_files import numbered, write_envi
from .test_raster import tag, write_tiff

NM = [450.0, 550, 650, 750, 850, 950, 1050, 1200]
UM = [0.45, 0.55, 0.65, 0.75, 0.85, 0.95, 1.05, 1.2]


def of(values: object, unit: str = "", fwhm: object = None, bands: int = 8) -> Spectral:
    text = values if isinstance(values, str) else "{" + ", ".join(str(value) for value in values) + "}"
    fields = {"wavelength": text, "wavelength units": unit}
    if fwhm is not None:
        fields["fwhm"] = "{" + ", ".join([str(fwhm)] * bands) + "}" if isinstance(fwhm, float) else str(fwhm)
    return spectral(fields, bands, "x.hdr")


def centres(known: Spectral) -> list[float]:
    assert known.wavelength is not None
    return known.wavelength.tolist()


@pytest.mark.parametrize(
    ("values", "unit", "mended"),
    [
        (NM, "Nanometers", False),
        (UM, "Micrometers", False),
        (NM, "", False),
        (UM, "", False),
        (UM, "Nanometers", True),
        (NM, "Micrometers", True),
        (NM, "Angstroms", True),
        (UM, "mm", True),
        ([value * 1e-9 for value in NM], "m", False),
        ([value * 1e-9 for value in NM], "", True),
        (["0.45", *NM[1:]], "nm", True),
        ([*UM[:4], *NM[4:]], "", True),
    ],
)
def test_wavelengths_in_the_wrong_unit_are_mended_and_said(values: list[object], unit: str, mended: bool) -> None:
    known = of(values, unit)
    assert centres(known) == NM
    assert bool(known.assumed) == mended
    assert known.warnings == ()
    assert known.good_bands(8).all()


@pytest.mark.parametrize(
    "unit",
    [
        "nm",
        "NM",
        "Nanometer",
        "nanometres",
        "nano meters",
        '"Nanometers"',
        "Nanometers (nm)",
        "[nm]",
        "{nm}",
        "n",
        "nm.",
    ],
)
def test_nanometres_however_they_are_spelled(unit: str) -> None:
    # 8 to 11.5 would be micrometres if nothing were said; so would these be mended if the unit were not known.
    assert centres(of([8000, 8500, 9000], unit, bands=3)) == [8000, 8500, 9000]
    assert not of(NM, unit).assumed


@pytest.mark.parametrize(
    "unit", ["um", "µm", "μm", "\ufffdm", "Micrometers", "microns", "micro meters", "[um]", "Micron"]
)
def test_micrometres_however_they_are_spelled(unit: str) -> None:
    known = of(UM, unit, 0.01)
    assert centres(known) == NM
    assert known.fwhm is not None
    assert known.fwhm.tolist() == [10] * 8
    assert not known.assumed


@pytest.mark.parametrize(
    ("values", "unit", "fwhm", "width", "mended"),
    [
        (UM, "Micrometers", 10.0, 10, 1),
        (NM, "Nanometers", 0.01, 10, 1),
        (UM, "Nanometers", 0.01, 10, 1),
        (UM, "Nanometers", 10.0, 10, 2),
        (NM, "Micrometers", 10.0, 10, 1),
        (NM, "Micrometers", 0.01, 10, 2),
        (UM, "", 10.0, 10, 1),
        (NM, "", 0.01, 10, 1),
        (NM, "nm", 0.3, 0.3, 0),
        ([8, 8.5, 9, 9.5, 10, 10.5, 11, 11.5], "um", 0.4, 400, 0),
        ([8, 8.5, 9, 9.5, 10, 10.5, 11, 11.5], "nm", 0.4, 400, 1),
    ],
)
def test_widths_are_judged_on_their_own(values: list[float], unit: str, fwhm: float, width: float, mended: int) -> None:
    known = of(values, unit, fwhm)
    assert known.fwhm is not None
    assert known.fwhm.tolist() == [width] * 8
    assert len(known.assumed) == mended


@pytest.mark.parametrize("unit", ["nm", "um", ""])
def test_widths_of_two_spectrometers_in_two_units_are_each_judged(unit: str) -> None:
    fields = {"wavelength": [str(v) for v in NM], "fwhm": ["10"] * 5 + ["0.012"] * 3, "wavelength units": unit}
    known = spectral(fields, 8, "x.hdr")
    assert known.fwhm is not None
    assert known.fwhm.tolist() == [10.0] * 5 + [12.0] * 3
    assert any("each taken by its magnitude" in line for line in known.assumed)


def test_widths_that_fit_nothing_are_left_aside() -> None:
    known = of(NM, "nm", 123456789.0)
    assert known.fwhm is None
    assert "do not fit the wavelengths in any unit" in known.warnings[0]


@pytest.mark.parametrize("missing", ["0", "-1", "0.0", "nan", "NaN", "", "n/a", "inf", "-9999", "1e30", "999999999"])
def test_a_few_missing_wavelengths_make_bad_bands(missing: str) -> None:
    known = of([NM[0], missing, *NM[2:]], "nm")
    assert np.isnan(centres(known)).tolist() == [False, True, *[False] * 6]
    assert known.good_bands(8).tolist() == [True, False, *[True] * 6]
    assert "1 of 8 wavelengths" in known.warnings[0]
    assert default_bands(8, known.wavelength, known.good).dropped == (("of unknown wavelength", 1),)


def test_half_of_them_missing_is_no_list() -> None:
    known = of([0, 0, 0, 0, *NM[4:]], "nm")
    assert known.wavelength is None
    assert known.warnings


def test_a_list_that_merely_counts_is_none() -> None:
    for values in (range(1, 9), range(8)):
        known = of(list(values), "Nanometers")
        assert known.wavelength is None
        assert "merely count the bands" in known.warnings[0]
    assert centres(of([1, 2, 3, 4, 5, 6, 7, 8], "Micrometers"))[-1] == 8000


@pytest.mark.parametrize(
    "text",
    [
        "{450, 550, 650, 750, 850, 950, 1050, 1200,}",
        "{450,550,650,750\n,850,950,1050,1200 , }",
        "[450. 550. 650.\n 750. 850. 950. 1050. 1200.]",
        "(450, 550, 650, 750, 850, 950, 1050, 1200)",
        "450 550 650 750 850 950 1050 1200",
        "{450; 550; 650; 750; 850; 950; 1050; 1200}",
        "{450,,550,,650,,750,,850,,950,,1050,,1200}",
        '{"450", "550", "650", "750", "850", "950", "1050", "1200"}',
        "{450 nm, 550 nm, 650nm, 750, 850, 950, 1050, 1200 nm}",
        "{\n; nm, from the laboratory\n450, 550, 650, 750,\n ; the second detector\n850, 950, 1050, 1200}",
        "{450, 550, ; green\n650, 750, 850, 950, 1050, 1200}",
        "array([450., 550., 650., 750.,\n 850., 950., 1050., 1200.], dtype=float32)",
        "[np.float64(450.0), np.float64(550.0), 650, 750, 850, 950, 1050, np.float32(1200.0)]",
        "{450,00, 550,00, 650,00, 750,00, 850,00, 950,00, 1050,00, 1200,00}",
        "{450,0 550,0 650,0 750,0 850,0 950,0 1050,0 1200,0}",
        "{450,0; 550,0; 650,0; 750,0; 850,0; 950,0; 1050,0; 1200,0}",
        "{450,00,550,00,650,00,750,00,850,00,950,00,1050,00,1200,00}",
        "{0,45, 0,55, 0,65, 0,75, 0,85, 0,95, 1,05, 1,2}",
    ],
)
def test_lists_as_people_and_programs_write_them(text: str) -> None:
    known = of(text)
    assert centres(known) == NM
    assert known.warnings == ()
    assert any("decimal commas" in line for line in known.assumed) == (
        (",0" in text and "0." not in text) or ",45" in text
    )


def test_a_list_twice_as_long_is_no_list_of_decimal_commas() -> None:
    known = of("{450,455,460,465,470,475,480,485,490,495,500,505,510,515,520,525}")
    assert known.wavelength is None
    assert known.warnings[0].startswith("16 values of wavelength for 8 bands: ignored")


@pytest.mark.parametrize(
    ("wavelength", "fwhm", "units"),
    [
        ("wavelengths", "fwhms", "wavelength units"),
        ("Wavelength", "FWHM", "Wavelength_Units"),
        ("centre wavelengths", "bandwidth", "wavelengths units"),
        ("center_wavelength", "band widths", "wavelength unit"),
        ("central wavelength", "full width half maximum", "units of wavelength"),
        ("band centers", "full_width_at_half_maximum", "wavelength_unit"),
    ],
)
def test_keys_as_they_are_spelled(wavelength: str, fwhm: str, units: str) -> None:
    known = spectral({wavelength: "{8,8.5,9}", fwhm: "{.1,.1,.1}", units: "um"}, 3, "x")
    assert centres(known) == [8000, 8500, 9000]
    assert known.fwhm is not None
    assert known.fwhm.tolist() == [100, 100, 100]


def test_a_wrong_list_is_set_aside_in_every_format(tmp_path: Path) -> None:
    envi = write_envi(tmp_path / "a.img", numbered(5), wavelength="{1, 2, 3}")
    tagged = tag(write_tiff(tmp_path / "b.tif", numbered(5)), wavelength="{400, 500, 600}")
    stac = write_tiff(tmp_path / "c.tif", numbered(5))
    item = {"properties": {"eo:bands": [{"center_wavelength": 0.4 + i / 10} for i in range(6)]}}
    (tmp_path / "c.stac.json").write_text(json.dumps(item))
    for path in (envi, tagged, stac):
        known = open_source(path).metadata
        assert known.wavelength is None
        assert any("for 5 bands: ignored" in line for line in known.warnings), path


@pytest.mark.parametrize(
    ("names", "wavelength"),
    [
        (["Band_503", "Band_510", "Band_520"], [503, 510, 520]),
        (["B503", "B604", "B712"], [503, 604, 712]),
        (["503.2", "604", "705.1"], [503.2, 604, 705.1]),
        (["0.503", "0.604", "0.7"], [503, 604, 700]),
        (["Band 1 (450.0)", "Band 2 (550.0)", "Band 3 (650.5)"], [450, 550, 650.5]),
        (["Band 1: 450.0", "Band 2: 550.0", "Band 3: 650.5"], [450, 550, 650.5]),
        (["Band 1", "Band 2", "Band 3"], None),
        (["Band 301", "Band 302", "Band 303"], None),
        (["B02", "B03", "B8A"], None),
        (["2010", "2013", "2019"], None),
        (["Band_503", "Band_402", "Band_600"], None),
        (["Band_503", "", "Band_600"], None),
        (["Band_503", "Band_604"], None),
        (["1.0", "2.0", "3.0"], None),
        (["25000", "26000", "27500"], None),
    ],
)
def test_bare_numbers_in_names_count_where_they_can_hardly_mean_anything_else(
    names: list[str], wavelength: list[float] | None
) -> None:
    known = from_names(names)
    assert (None if known.wavelength is None else known.wavelength.tolist()) == wavelength
    assert bool(known.assumed) == (wavelength is not None)


def test_names_of_a_tiff_give_wavelengths_and_say_so(tmp_path: Path) -> None:
    import rasterio

    path = write_tiff(tmp_path / "x.tif", numbered(4))
    with rasterio.open(path, "r+") as dataset:
        for band, centre in enumerate((450, 550, 650, 750), start=1):
            dataset.set_band_description(band, f"Band_{centre}")
    known = open_source(path).metadata
    assert known.wavelength is not None
    assert known.wavelength.tolist() == [450, 550, 650, 750]
    assert any("taken from the band names" in line for line in known.assumed)


def test_what_was_mended_where_nobody_looks_is_not_said() -> None:
    right, wrong = of(NM, "nm"), of(UM, "nm")
    assert first_known([right, wrong]).assumed == ()
    assert first_known([wrong, right]).assumed == wrong.assumed


@pytest.mark.parametrize("unit", [None, "Micrometers"])
def test_stac_in_nanometres_is_mended(tmp_path: Path, unit: str | None) -> None:
    bands = [{"center_wavelength": centre, "full_width_half_max": 10.0} for centre in NM]
    path = write_tiff(tmp_path / "x.tif", numbered(8))
    (tmp_path / "x.stac.json").write_text(json.dumps({"properties": {"eo:bands": bands}}))
    known = open_source(path).metadata
    assert known.wavelength is not None
    assert known.wavelength.tolist() == NM
    assert known.fwhm is not None
    assert known.fwhm.tolist() == [10] * 8
    assert any("cannot be in µm, contrary to the file: assumed to be in nm" in line for line in known.assumed)


@pytest.mark.parametrize(
    "item",
    [
        '{"properties": {"eo:bands": "../x"}}',
        '{"properties": {"eo:bands": [{"center_wavelength": 0.4}, "b", 3, null]}}',
        '{"properties": {"eo:bands": [{"center_wavelength": {"a": 1}}, {}, {}, {}]}}',
        '{"properties": {"eo:bands": {"a": {"center_wavelength": 0.4}}}}',
        '{"properties": true, "assets": [1, 2]}',
        '{"assets": {"a": true, "b": {"href": 7, "bands": 7}}}',
        '{"properties": {"eo:bands": [{"center_wavelength": "x"}, {"center_wavelength": null}]}}',
        "[]",
        "7",
    ],
)
def test_stac_items_of_another_shape_are_left_aside(tmp_path: Path, item: str) -> None:
    path = write_tiff(tmp_path / "x.tif", numbered(4))
    (tmp_path / "x.stac.json").write_text(item)
    assert open_source(path).metadata.wavelength is None


@pytest.mark.parametrize("item", ["[" * 100_000, "{", ""])
def test_what_is_no_stac_item_is_one_line(tmp_path: Path, item: str) -> None:
    path = write_tiff(tmp_path / "x.tif", numbered(4))
    (tmp_path / "x.stac.json").write_text(item)
    with pytest.raises(CubeError, match=r"x\.stac\.json: not a STAC item") as caught:
        open_source(path)
    assert "\n" not in str(caught.value)


def test_a_few_bands_without_a_tag_are_bad_ones(tmp_path: Path) -> None:
    tags = [{"wavelength": "400"}, {}, {"wavelength": "600"}]
    known = open_source(tag(write_tiff(tmp_path / "x.tif", numbered(3)), tags)).metadata
    assert known.wavelength is not None
    np.testing.assert_array_equal(known.wavelength, [400, np.nan, 600])
    assert known.good is not None
    assert known.good.tolist() == [True, False, True]


ESRI = """BYTEORDER I
LAYOUT BIL
NROWS 7
NCOLS 6
NBANDS 4
NBITS 16
PIXELTYPE SIGNEDINT
"""


@pytest.mark.parametrize(
    "block",
    [
        "WAVELENGTHS\n450.00\n550.00\n650.00\n750.00\nWAVELENGTHS_END\n",
        "wavelengths\r\n0.45\r\n0.55\r\n0.65\r\n0.75\r\nwavelengths_end\r\n",
        "WAVELENGTH_UNITS Micrometers\nWAVELENGTHS\n 0.45, 0.55,\n 0.65, 0.75\nWAVELENGTHS_END\n",
    ],
)
def test_blocks_of_wavelengths_in_esri_headers(tmp_path: Path, block: str) -> None:
    cube = numbered(4)
    (tmp_path / "x.bil").write_bytes(np.ascontiguousarray(cube.transpose(1, 0, 2)).tobytes())
    (tmp_path / "x.hdr").write_bytes((ESRI + block).encode())
    for name in ("x.bil", "x.hdr"):
        source = open_source(tmp_path / name)
        assert source.metadata.wavelength is not None
        assert source.metadata.wavelength.tolist() == [450, 550, 650, 750]
        np.testing.assert_array_equal(source.read(slice(0, 7), slice(0, 6)), cube)


def test_an_esri_header_without_a_block_or_with_a_wrong_one_still_opens(tmp_path: Path) -> None:
    (tmp_path / "x.bil").write_bytes(np.ascontiguousarray(numbered(4).transpose(1, 0, 2)).tobytes())
    for block, told in (
        ("", "no wavelengths"),
        ("WAVELENGTHS\n450\nWAVELENGTHS_END\n", "1 values of wavelength for 4"),
    ):
        (tmp_path / "x.hdr").write_text(ESRI + block)
        known = open_source(tmp_path / "x.bil").metadata
        assert known.wavelength is None
        assert any(told in line for line in known.warnings)


def enmap_xml(count: int, namespace: str = "") -> str:
    bands = "".join(
        f'<bandID number="{number}"><wavelengthCenterOfBand>{400 + 100 * number}.5</wavelengthCenterOfBand>'
        f"<FWHMOfBand>{number}</FWHMOfBand><GainOfBand>0.0001</GainOfBand><OffsetOfBand>-1</OffsetOfBand></bandID>"
        for number in reversed(range(1, count + 1))
    )
    other = '<bandStatistics><bandID number="1"><minimum>0</minimum></bandID></bandStatistics>'
    return f"<level_X{namespace}>{other}<bandCharacterisation>{bands}</bandCharacterisation></level_X>"


@pytest.mark.parametrize("namespace", ["", ' xmlns="urn:enmap"'])
@pytest.mark.parametrize("image", ["SPECTRAL_IMAGE.TIF", "SPECTRAL_IMAGE_COG.tiff", "SPECTRAL_IMAGE_VNIR.TIF"])
def test_enmaps_metadata_beside_its_image(tmp_path: Path, namespace: str, image: str) -> None:
    path = write_tiff(tmp_path / f"ENMAP01-L2A-{image}", numbered(4))
    (tmp_path / "ENMAP01-L2A-METADATA.XML").write_text(enmap_xml(4, namespace))
    known = open_source(path).metadata
    assert known.wavelength is not None
    assert known.wavelength.tolist() == [500.5, 600.5, 700.5, 800.5]
    assert known.fwhm is not None
    assert known.fwhm.tolist() == [1, 2, 3, 4]
    bands = enmap_bands(tmp_path / "ENMAP01-L2A-METADATA.XML")
    assert bands.gain.tolist() == [0.0001] * 4
    assert bands.offset.tolist() == [-1] * 4


@pytest.mark.parametrize("text", ["<level_X", "<level_X></level_X>", "no xml"])
def test_enmap_metadata_without_bands_is_one_line(tmp_path: Path, text: str) -> None:
    path = tmp_path / "X-METADATA.XML"
    path.write_text(text)
    with pytest.raises(CubeError, match=r"X-METADATA\.XML: (not readable XML|no bandID)") as caught:
        enmap_bands(path)
    assert "\n" not in str(caught.value)


def test_three_bands_without_wavelengths_are_a_picture(tmp_path: Path) -> None:
    envi = write_envi(tmp_path / "x.img", numbered(3, dtype="u1"), wavelength=None)
    for path in (envi, write_tiff(tmp_path / "x.tif", numbered(3, dtype="u1"))):
        source = open_source(path)
        assert source.shape[0] == 3
        assert PICTURE in source.metadata.warnings


@pytest.mark.parametrize(
    ("wavelength", "picture"),
    [("{640, 550, 460}", True), ("{0.46, 0.55, 0.64}", True), ("{550, 560, 570}", False), ("{640, 550, 860}", False)],
)
def test_red_green_and_blue_are_a_picture_too(tmp_path: Path, wavelength: str, picture: bool) -> None:
    known = open_source(write_envi(tmp_path / "x.img", numbered(3), wavelength=wavelength)).metadata
    assert (COLOURS in known.warnings) == picture


def test_bands_of_unknown_wavelength_work_downstream(tmp_path: Path) -> None:
    path = write_envi(
        tmp_path / "x.img", numbered(8), wavelength="{0, 550, 650, 750, 850, 0, 1050, 1200}", wavelength_units="nm"
    )
    with pytest.warns(match="2 of 8 wavelengths"):
        cube = open_cube(path)
    source = source_of(cube)
    assert source.metadata.wavelength is not None
    assert np.isnan(source.metadata.wavelength).nonzero()[0].tolist() == [0, 5]
    # A slice has metadata of its own, made from the cube's coordinates.
    part = source_of(cube[:, 1:4]).metadata
    np.testing.assert_array_equal(part.wavelength, source.metadata.wavelength)
    np.testing.assert_array_equal(part.good, source.metadata.good)
    colours = colour_bands(source.metadata, 8)
    assert not {0, 5} & set(colours.indices)
    assert "nan" not in colours.label
    assert colour_bands(source.metadata, 8, "1,2,3").label.endswith("bands 1/2/3")


def test_models_and_bands_of_unknown_wavelength() -> None:
    have = np.array([450, np.nan, 650, 750])
    model = Spectrum(indices=(0, 2), total=4, wavelength=(450.0, 650.0), fwhm=(10.0, float("nan")))
    assert match_bands(model, 4, have, name="x").tolist() == [0, 2]
    with pytest.raises(ModelError, match=r"1 of the model's 2 bands are not in the scene, such as 550"):
        match_bands(Spectrum(indices=(0, 1), total=4, wavelength=(450.0, 550.0)), 4, have, name="x")
    unknown = Spectrum(indices=(0, 1), total=4, wavelength=(450.0, float("nan")))
    with pytest.raises(ModelError, match="1 of the model's 2 bands have no known wavelength"):
        match_bands(unknown, 4, have, name="x")
    again = Spectrum.model_validate(json.loads(unknown.model_dump_json()))
    assert again.wavelength is not None
    assert np.isnan(again.wavelength).tolist() == [False, True]


@pytest.mark.parametrize(
    ("unit", "product"),
    [
        ("Wavenumber", 1e7),
        ("cm-1", 1e7),
        ("1/cm", 1e7),
        ("wavenumber (cm-1)", 1e7),
        ("GHz", 299_792_458.0),
        ("MHz", 299_792_458e3),
        ("THz", 299_792.458),
    ],
)
def test_wave_numbers_and_frequencies_become_wavelengths_and_widths(unit: str, product: float) -> None:
    fields = {
        "wavelength": [repr(product / nm) for nm in NM],
        "fwhm": [repr(10 * product / nm**2) for nm in NM],
        "wavelength units": unit,
    }
    known = spectral(fields, 8, "x.hdr")
    np.testing.assert_allclose(centres(known), NM, rtol=1e-9)
    np.testing.assert_allclose(known.fwhm, 10, rtol=1e-6)
    assert not known.warnings
    assert not known.assumed


def test_values_that_may_be_wave_numbers_or_angstroms_are_neither() -> None:
    known = of([1e7 / nm for nm in NM], "")
    assert known.wavelength is None
    assert any("Å or wave numbers" in line for line in known.warnings)


def test_exponents_as_fortran_writes_them() -> None:
    known = spectral({"wavelength": "{0.45D0, 5.5d-1, 6.5D-01}", "wavelength units": "um"}, 3, "x.hdr")
    assert centres(known) == [450, 550, 650]


def test_names_of_most_bands_give_their_wavelengths() -> None:
    known = from_names(["450 nm", "0.55 um", "", "650 nm", "NDVI", "750 nm"])
    np.testing.assert_array_equal(known.wavelength, [450, 550, np.nan, 650, np.nan, 750])
    assert known.warnings == ("2 of 6 bands have no wavelength in their names: those bands are marked bad",)


def test_tags_called_after_bands_give_wavelengths(tmp_path: Path) -> None:
    path = write_tiff(tmp_path / "x.tif", numbered(3))
    tag(path, **{f"Band_{number}": f"{nm} Nanometers" for number, nm in enumerate((450, 550, 650), start=1)})
    assert open_source(path).metadata.wavelength.tolist() == [450, 550, 650]  # type: ignore[union-attr]


@pytest.mark.parametrize("key", ["center_wavelength", "CENTRAL_WAVELENGTH", "wavelengths"])
def test_tags_of_bands_by_other_names_of_wavelengths(tmp_path: Path, key: str) -> None:
    path = tag(write_tiff(tmp_path / "x.tif", numbered(2)), [{key: "0.45"}, {key: "0.55"}])
    assert open_source(path).metadata.wavelength.tolist() == [450, 550]  # type: ignore[union-attr]


@pytest.mark.parametrize("is_item", [True, False])
def test_a_json_beside_the_file_counts_if_it_is_a_stac_item(tmp_path: Path, is_item: bool) -> None:
    path = write_tiff(tmp_path / "x.tif", numbered(2))
    item = {"assets": {"data": {"href": "./x.tif", "eo:bands": [{"center_wavelength": v} for v in (0.45, 0.55)]}}}
    (tmp_path / "x.json").write_text(json.dumps({**item, **({"stac_version": "1.0.0"} if is_item else {})}))
    wavelength = open_source(path).metadata.wavelength
    assert (wavelength is not None and wavelength.tolist() == [450, 550]) == is_item
    (tmp_path / "x.json").write_text("no JSON at all")
    assert open_source(path).metadata.wavelength is None


@pytest.mark.parametrize(("count", "files", "known"), [(3, 1, True), (2, 1, False), (3, 2, False)])
def test_enmaps_metadata_beside_a_renamed_image(tmp_path: Path, count: int, files: int, known: bool) -> None:
    path = write_tiff(tmp_path / "mine.tif", numbered(3))
    for number in range(files):
        (tmp_path / f"{number}-METADATA.XML").write_text(enmap_xml(count))
    metadata = open_source(path).metadata
    assert (metadata.wavelength is not None) == known
    assert any("taken from 0-METADATA.XML beside it" in line for line in metadata.assumed) == known


@pytest.mark.parametrize(
    ("key", "values"), [("wavelength (nm)", NM), ("Wavelengths [um]", UM), ("wavelength (µm)", UM)]
)
def test_a_unit_may_stand_in_the_key(key: str, values: list[float]) -> None:
    known = spectral({key: [*map(str, values)]}, 8, "x.hdr")
    assert centres(known) == NM
    assert not known.assumed


def test_one_wavelength_for_all_bands_is_none() -> None:
    known = of([500] * 8, "nm")
    assert known.wavelength is None
    assert known.warnings == ("wavelengths that are 500 in all bands: ignored",)
