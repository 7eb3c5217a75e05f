"""First bytes by which a file says that it is no raw data, whatever a header beside it promises.

A file of another format may by chance be exactly as large as a header promises, and raw samples may by chance begin
with any two bytes. So a mark counts if it has four bytes or more, which samples make once in 4 billion files; a shorter
one only together with what its format demands of the bytes behind it, or where the size contradicts the header.
"""

from __future__ import annotations

import re
import struct
import zlib
from collections.abc import Callable
from pathlib import Path

#: What to read of a file.
_START = 2080

#: Marks at the start of a file that raw samples hardly ever make by chance.
_MARKS = {
    "TIFF": (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+"),
    "ERDAS Imagine": (b"EHFA_HEADER_TAG",),
    "ERDAS LAN": (b"HEAD74", b"HEADER"),
    "ER Mapper header": (b"DatasetHeader Begin",),
    "PCIDSK": (b"PCIDSK",),
    "NetCDF": (b"CDF\x01", b"CDF\x02", b"CDF\x05"),
    "HDF4": (b"\x0e\x03\x13\x01",),
    "PNG": (b"\x89PNG\r\n\x1a\n",),
    "GIF": (b"GIF87a", b"GIF89a"),
    "JPEG": (b"\xff\xd8\xff\xe0\0\x10JFIF\0",),
    "JPEG 2000": (b"\0\0\0\x0cjP  \r\n\x87\n", b"\xff\x4f\xff\x51"),
    "JPEG XL": (b"\0\0\0\x0cJXL \r\n\x87\n",),
    "Photoshop": (b"8BPS\0",),
    "OpenEXR": (b"v/1\x01",),
    "NITF": (b"NITF0", b"NSIF0"),
    "FITS": (b"SIMPLE  =",),
    "GRIB": (b"GRIB",),
    "BUFR": (b"BUFR",),
    "zip": (b"PK\x03\x04", b"PK\x05\x06", b"PK\x07\x08"),
    "7-Zip": (b"7z\xbc\xaf\x27\x1c",),
    "RAR": (b"Rar!\x1a\x07",),
    "xz": (b"\xfd7zXZ\0",),
    "lzma": (b"\x5d\0\0\x80\0\xff\xff\xff\xff\xff\xff\xff\xff",),
    "bzip2": tuple(b"BZh%d1AY&SY" % level for level in range(1, 10)),
    "Zstandard": (b"\x28\xb5\x2f\xfd",),
    "LZ4": (b"\x04\x22\x4d\x18",),
    "MATLAB": (b"MATLAB 5.0 MAT", b"MATLAB 7.3 MAT"),
    "RTF": (b"{\\rtf1",),
    "PDF": (b"%PDF-",),
    "PostScript": (b"%!PS-",),
    "SQLite": (b"SQLite format 3\0",),
    "Parquet": (b"PAR1",),
    "Arrow": (b"ARROW1\0\0",),
    "FlatGeobuf": (b"fgb\x03fgb",),
    "Surfer": (b"DSAA", b"DSBB", b"DSRB"),
    "RIFF": (b"RIFF",),
    "NumPy": (b"\x93NUMPY",),
    "a program": (b"\x7fELF",),
    "a pointer of Git LFS": (b"version https://git-lfs",),
    "PDS": (b"PDS_VERSION_ID", b"CCSD3Z", b"LBLSIZE=", b"Object = IsisCube"),
    "LAS": (b"LASF",),
    "XML": (b"<?xml", b"<VRTDataset", b"<GDAL", b"<MRF_META>"),
    "ENVI header": (b"ENVI\n", b"ENVI\r"),
}

#: Marks behind the start: at which byte.
_MARKS_WITHIN = {"tar": (257, b"ustar"), "DICOM": (128, b"DICM"), "JPEG": (6, b"Exif\0\0"), "MP4 or HEIF": (4, b"ftyp")}

#: Marks of three bytes and less; samples begin so by chance, and then the size tells.
_SHORT_MARKS = {
    "JPEG": (b"\xff\xd8\xff",),
    "BMP": (b"BM",),
    "gzip": (b"\x1f\x8b\x08",),
    "bzip2": (b"BZh",),
    "compress": (b"\x1f\x9d\x90",),
}

#: Where HDF5 may begin: behind a block of the user's own.
_HDF5 = b"\x89HDF\r\n\x1a\n"
_HDF5_STARTS = (0, 512, 1024, 2048)

#: Sizes of the second header of a BMP, and kinds of segments that a JPEG begins with.
_BMP_HEADERS = {12, 16, 40, 52, 56, 64, 108, 124}
_JPEG_SEGMENTS = {*range(0xC0, 0xC8), 0xDB, 0xDD, *range(0xE0, 0xF0), 0xFE}

#: What text is made of, and how many different characters of it text has that is none by chance.
_PRINTABLE = frozenset(range(32, 127)) | set(b"\t\r\n\f")
_LEAST_CHARACTERS = 6

#: In samples of 16 bits that lie close together, every second byte may be a line break; in text, few are.
_MOST_BREAKS = 0.25

#: How text of a single line begins: JSON, or usual kinds of XML.
_BEGINNING = re.compile(rb"\s*(<(svg|kml|gml|GMF)\b|\{\s*\"[^\"]{1,40}\"\s*:)")


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
    marked = _marked(start) or next((name for name, fits in _STRUCTURES.items() if fits(start, actual)), None)
    if marked is not None or actual == size:
        return marked
    return next((name for name, marks in _SHORT_MARKS.items() if start.startswith(marks)), None)


def _marked(start: bytes) -> str | None:
    """The format whose mark a file bears, if any."""
    if any(start[at : at + len(_HDF5)] == _HDF5 for at in _HDF5_STARTS):
        return "HDF5"
    text = start.removeprefix(b"\xef\xbb\xbf").lstrip()
    if text.lower().startswith((b"<!doctype html", b"<html")):
        return "HTML"
    for name, marks in _MARKS.items():
        if start.startswith(marks) or (name in ("XML", "PDS") and text.startswith(marks)):
            return name
    return next((name for name, (at, mark) in _MARKS_WITHIN.items() if start[at : at + len(mark)] == mark), None)


def _is_jpeg(start: bytes, size: int) -> bool:  # noqa: ARG001 - all structures are asked alike
    """Whether the first segment is of a kind that there is, and another one follows it."""
    if start[:3] != b"\xff\xd8\xff" or len(start) < 6 or start[3] not in _JPEG_SEGMENTS:
        return False
    follows = 4 + int.from_bytes(start[4:6], "big")
    return follows >= len(start) or start[follows] == 0xFF


def _is_bmp(start: bytes, size: int) -> bool:
    """Whether sizes and offsets in its headers lie within the file, and a header is as long as there are."""
    if start[:2] != b"BM" or len(start) < 18:
        return False
    told, reserved, pixels, header = struct.unpack_from("<IIII", start, 2)
    return told <= size and reserved == 0 and header in _BMP_HEADERS and 14 + header <= pixels <= size


def _is_gzip(start: bytes, size: int) -> bool:  # noqa: ARG001
    """Whether what lies behind the mark can be unpacked."""
    if start[:3] != b"\x1f\x8b\x08":
        return False
    try:
        zlib.decompressobj(wbits=31).decompress(start)
    except zlib.error:
        return False
    return True


def _is_sgi(start: bytes, size: int) -> bool:  # noqa: ARG001
    """Whether storage, bytes, axes and colours are among those that there are, and the rest of its header is empty."""
    if start[:2] != b"\x01\xda" or len(start) < 512:
        return False
    known = start[2] in (0, 1) and start[3] in (1, 2) and start[4:6] in (b"\0\1", b"\0\2", b"\0\3")
    return known and start[104:107] == b"\0\0\0" and not any(start[108:512])


def _is_shapefile(start: bytes, size: int) -> bool:  # noqa: ARG001
    """Whether the mark, of which half is 0, stands before five empty numbers and the version."""
    return start[:4] == b"\0\0\x27\x0a" and not any(start[4:24]) and start[28:32] == b"\xe8\x03\0\0"


def _is_pickle(start: bytes, size: int) -> bool:  # noqa: ARG001
    """Whether a frame begins behind the protocol, of a length that has two empty bytes at least."""
    return start[:3] in (b"\x80\4\x95", b"\x80\5\x95") and start[9:11] == b"\0\0"


def _is_text(start: bytes, size: int) -> bool:  # noqa: ARG001
    """Whether there is nothing but text, in lines or as some begins that has none."""
    text = start.rstrip(b"\0") if len(start) < _START else start
    characters = set(text)
    if not characters <= _PRINTABLE or sum(character > 32 for character in characters) < _LEAST_CHARACTERS:
        return False
    breaks = text.count(b"\n") + text.count(b"\r")
    return 0 < breaks <= _MOST_BREAKS * len(text) or _BEGINNING.match(text) is not None


_STRUCTURES: dict[str, Callable[[bytes, int], bool]] = {
    "JPEG": _is_jpeg,
    "BMP": _is_bmp,
    "gzip": _is_gzip,
    "SGI": _is_sgi,
    "shapefile": _is_shapefile,
    "a pickle of Python": _is_pickle,
    "text": _is_text,
}
