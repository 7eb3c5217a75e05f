"""First bytes by which a file says that it is no raw data, whatever a header beside it promises."""

from __future__ import annotations

from pathlib import Path

#: What to read of a file.
_START = 2080

#: Marks at the start of a file that raw samples hardly ever make by chance.
_MARKS = {
    "TIFF": (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+"),
    "ERDAS Imagine": (b"EHFA_HEADER_TAG",),
    "PCIDSK": (b"PCIDSK",),
    "NetCDF": (b"CDF\x01", b"CDF\x02", b"CDF\x05"),
    "HDF4": (b"\x0e\x03\x13\x01",),
    "PNG": (b"\x89PNG\r\n\x1a\n",),
    "GIF": (b"GIF87a", b"GIF89a"),
    "JPEG 2000": (b"\0\0\0\x0cjP  \r\n\x87\n", b"\xff\x4f\xff\x51"),
    "NITF": (b"NITF0", b"NSIF0"),
    "FITS": (b"SIMPLE  =",),
    "GRIB": (b"GRIB",),
    "zip": (b"PK\x03\x04",),
    "7-Zip": (b"7z\xbc\xaf\x27\x1c",),
    "xz": (b"\xfd7zXZ\0",),
    "bzip2": (b"BZh91AY&SY",),
    "Zstandard": (b"\x28\xb5\x2f\xfd",),
    "MATLAB": (b"MATLAB 5.0 MAT", b"MATLAB 7.3 MAT"),
    "PDF": (b"%PDF-",),
    "SQLite": (b"SQLite format 3\0",),
    "RIFF": (b"RIFF",),
    "JPEG": (b"\xff\xd8\xff\xe0\0\x10JFIF\0",),
    "NumPy": (b"\x93NUMPY",),
    "a pointer of Git LFS": (b"version https://git-lfs",),
    "HTML": (b"<!DOCTYPE html", b"<!doctype html", b"<html"),
    "PDS": (b"PDS_VERSION_ID", b"CCSD3Z", b"LBLSIZE=", b"Object = IsisCube"),
    "LAS": (b"LASF",),
    "XML": (b"<?xml", b"<VRTDataset", b"<GDAL"),
    "ENVI header": (b"ENVI\n", b"ENVI\r"),
}

#: Marks of three bytes and less; samples begin so by chance, and then the size tells.
_SHORT_MARKS = {
    "JPEG": (b"\xff\xd8\xff",),
    "BMP": (b"BM",),
    "gzip": (b"\x1f\x8b\x08",),
    "bzip2": (b"BZh",),
}

#: Where HDF5 may begin: behind a block of the user's own.
_HDF5 = b"\x89HDF\r\n\x1a\n"
_HDF5_STARTS = (0, 512, 1024, 2048)


def foreign_format(file: Path, size: int | None = None) -> str | None:
    """Name of the format that a file's first bytes tell, or None where they may be raw samples.

    Args:
        file: The file.
        size: Bytes that raw data would have, if that is known.
    """
    try:
        with file.open("rb") as opened:
            start = opened.read(_START)
        actual = file.stat().st_size
    except OSError:
        # Whoever opens it will say why.
        return None
    if any(start[at : at + len(_HDF5)] == _HDF5 for at in _HDF5_STARTS):
        return "HDF5"
    text = start.removeprefix(b"\xef\xbb\xbf").lstrip()
    for name, marks in _MARKS.items():
        if start.startswith(marks) or (name in ("XML", "PDS", "HTML") and text.startswith(marks)):
            return name
    if actual == size:
        return None
    return next((name for name, marks in _SHORT_MARKS.items() if start.startswith(marks)), None)
