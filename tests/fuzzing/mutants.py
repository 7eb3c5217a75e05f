"""How a sound file is spoiled: its bytes, its text, a value somewhere in its JSON, or what its format holds."""

from __future__ import annotations

import copy
import json
import random
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import rasterio
import scipy.io
import torch
from safetensors import safe_open
from safetensors.torch import save

#: A way to spoil a file in place.
Mutator = Callable[[random.Random, Path], None]

#: Pieces of text that somebody's parser once stumbled over.
TEXTS = (
    *(
        "",
        " ",
        ",,,",
        "nan",
        "inf",
        "-inf",
        "1e309",
        "-1",
        "0",
        "0.0",
        "1e-320",
        "1e300",
        "3.4e38",
        "65536",
        "4294967296",
    ),
    *(
        "2147483647",
        "9223372036854775808",
        "-9223372036854775809",
        "9" * 4301,
        "1" * 18,
        "0x10",
        "1_000",
        "٣",
        "½",
        "²",
    ),
    *(
        "{",
        "}",
        "{{{{",
        "[",
        "]",
        "(",
        '"',
        "'",
        "\\",
        ";",
        "=",
        ":",
        "\n",
        "\r",
        "\t",
        "\x0b",
        "\x0c",
        "\x85",
        "\u2028",
    ),
    *("\0", "\x1b]0;title\x07", "\x9b31m", "\u202e", "\x7f", "é", "漢", "\U0001f6f0", "\ud800", "\ufeff"),
    *(
        "=1+1",
        "@SUM(1)",
        "../../etc/passwd",
        "/vsicurl/http://localhost:9/x",
        "/dev/null",
        ".",
        "..",
        "x" * 5000,
        "-" * 300,
    ),
    *(
        "true",
        "null",
        "None",
        "NaN",
        "Infinity",
        "1,2",
        "1;2",
        "1.5.2",
        "0-0",
        "9-1",
        "1-",
        "-",
        "1e",
        "e5",
        "+",
        "%s",
        "{0}",
    ),
)

#: Values that JSON can hold, and that are of another type or size than is expected.
VALUES: tuple[Any, ...] = (
    *(None, True, False, 0, 1, -1, 2**31, 2**63, 2**64, 10**400, 0.5, -0.0, 1e308, 1e-320, float("nan"), float("inf")),
    *({}, [], [[]], [None], {"": None}, [0] * 1000, ["x"], {"x": {"x": [1, "x", None]}}, "2026-01-01T00:00:00Z"),
    *TEXTS,
)

_TOKEN = re.compile(r"[A-Za-z_]+|[-+]?[0-9.]+(?:[eE][-+]?[0-9]+)?|[^\sA-Za-z0-9]")


def nest(depth: int) -> Any:
    """Lists in lists."""
    value: Any = []
    for _ in range(depth):
        value = [value]
    return value


def spoil_bytes(rng: random.Random, path: Path) -> None:
    """Change, lose, repeat or add some bytes, or cut the end off."""
    data = bytearray(path.read_bytes())
    for _ in range(rng.choice((1, 1, 1, 2, 4, 16))):
        at = rng.randrange(len(data) + 1)
        # Heads matter most.
        at = at if rng.random() < 0.5 else min(at, rng.randrange(512))
        length = rng.choice((1, 1, 2, 4, 8, 64, 1024))
        _BYTES[rng.randrange(len(_BYTES))](rng, data, at, length)
    path.write_bytes(data)


def _put(data: bytearray, at: int, piece: bytes) -> None:
    data[at : at + len(piece)] = piece


_BYTES: tuple[Callable[[random.Random, bytearray, int, int], None], ...] = (
    lambda rng, data, at, n: _put(data, at, bytes([data[at] ^ (1 << rng.randrange(8))]) if at < len(data) else b"x"),
    lambda rng, data, at, n: _put(data, at, rng.randbytes(n)),
    lambda rng, data, at, n: _put(data, at, bytes([rng.choice((0, 0xFF, 0x7F, 0x80))]) * n),
    lambda rng, data, at, n: _put(
        data,
        at,
        rng.choice((0, 1, -1, 2**31 - 1, -(2**31), 65535)).to_bytes(8, rng.choice(("little", "big")), signed=True),
    ),
    lambda rng, data, at, n: data.__delitem__(slice(at, at + n)),
    lambda rng, data, at, n: data.__setitem__(slice(at, at), data[max(0, at - n) : at]),
    lambda rng, data, at, n: data.__setitem__(slice(at, at), rng.choice(TEXTS).encode("utf-8", "surrogatepass")),
    lambda rng, data, at, n: data.__delitem__(slice(at, None)),
)


#: Most characters that repeating a line adds.
_MOST_TEXT = 2**24


def spoil_text(rng: random.Random, path: Path) -> None:
    """Replace a word or a number, or lose, repeat or mix lines."""
    text = path.read_bytes().decode("utf-8", "surrogateescape")
    for _ in range(rng.choice((1, 1, 1, 2, 3, 6))):
        text = _TEXT[rng.randrange(len(_TEXT))](rng, text)
    path.write_bytes(text.encode("utf-8", "surrogatepass" if "\ud800" in text else "surrogateescape"))


def _replace_token(rng: random.Random, text: str) -> str:
    found = list(_TOKEN.finditer(text))
    if not found:
        return rng.choice(TEXTS)
    token = rng.choice(found)
    return text[: token.start()] + rng.choice(TEXTS) + text[token.end() :]


def _insert(rng: random.Random, text: str) -> str:
    at = rng.randrange(len(text) + 1)
    return text[:at] + rng.choice(TEXTS) * rng.choice((1, 1, 1, 50)) + text[at:]


def _lines(rng: random.Random, text: str) -> str:
    lines = text.splitlines(keepends=True) or [""]
    one, other = rng.randrange(len(lines)), rng.randrange(len(lines))
    match rng.randrange(5):
        case 0:
            del lines[one]
        case 1:
            lines[one:one] = [lines[other]]
        case 2:
            lines[one], lines[other] = lines[other], lines[one]
        case 3:
            # A mutant must fit into memory itself.
            lines[one:one] = [lines[one]] * min(rng.choice((2, 2000)), 1 + _MOST_TEXT // (len(lines[one]) + 1))
        case _:
            lines = lines[: one + 1]
    return "".join(lines)


def _value_of_line(rng: random.Random, text: str) -> str:
    """Another value for a key of a header, or behind a comma of a table."""
    lines = text.split("\n")
    at = rng.randrange(len(lines))
    key, sign, _ = lines[at].partition("=" if "=" in lines[at] else ",")
    lines[at] = f"{key}{sign} {rng.choice(TEXTS)}"
    return "\n".join(lines)


_TEXT = (_replace_token, _replace_token, _replace_token, _insert, _lines, _value_of_line)


def spoiled_json(rng: random.Random, content: Any) -> Any:
    """Content with something in it of another type or size, missing, renamed or in another's place."""
    content = copy.deepcopy(content)
    for _ in range(rng.choice((1, 1, 1, 2, 4))):
        places = list(_places(content))
        if not places:
            return rng.choice(VALUES)
        holder, key = rng.choice(places)
        match rng.randrange(8):
            case 0 if isinstance(holder, dict):
                holder[rng.choice(TEXTS)] = holder.pop(key)
            case 1:
                del holder[key]
            case 2:
                other, there = rng.choice(places)
                # A copy, or the content could hold itself.
                holder[key] = copy.deepcopy(other[there]) if _has(other, there) else None
            case 3:
                holder[key] = [holder[key]] if rng.random() < 0.5 else str(holder[key])
            case 4 if rng.random() < 0.2:
                holder[key] = nest(rng.choice((20, 400)))
            case _:
                holder[key] = copy.deepcopy(rng.choice(VALUES))
    return content


def _has(holder: Any, key: Any) -> bool:
    return key in holder if isinstance(holder, dict) else key < len(holder)


def _places(content: Any) -> Any:
    items = content.items() if isinstance(content, dict) else enumerate(content) if isinstance(content, list) else ()
    for key, value in list(items):
        yield content, key
        yield from _places(value)


def to_json(content: Any) -> bytes:
    """JSON of content that may hold numbers of many digits and texts that are no text."""
    try:
        return json.dumps(_short(content)).encode("utf-8", "surrogatepass").replace(b'"LONG"', b"9" * 4301)
    except RecursionError:
        # Nested deeper than Python writes.
        return b"[" * 2000 + b"]" * 2000


def _short(content: Any) -> Any:
    """Without integers that Python refuses to print."""
    if isinstance(content, dict):
        return {key: _short(value) for key, value in content.items()}
    if isinstance(content, list):
        return [_short(value) for value in content]
    return "LONG" if isinstance(content, int) and abs(content) > 10**300 else content


def spoil_json(rng: random.Random, path: Path) -> None:
    """Change JSON as JSON, or now and then as text; nested deeper than a parser goes, once in a while."""
    if rng.random() < 0.25:
        spoil_text(rng, path)
    elif rng.random() < 0.02:
        path.write_bytes(b'{"a":' * 50_000 if rng.random() < 0.5 else b"[" * 100_000)
    else:
        path.write_bytes(to_json(spoiled_json(rng, json.loads(path.read_bytes()))))


def spoil_json_line(rng: random.Random, path: Path) -> None:
    """Change one of several lines of JSON."""
    lines = path.read_bytes().splitlines()
    at = rng.randrange(len(lines))
    if rng.random() < 0.3:
        spoil_bytes(rng, path)
        return
    lines[at] = to_json(spoiled_json(rng, json.loads(lines[at])))
    path.write_bytes(b"\n".join(lines) + b"\n")


def spoil_model(rng: random.Random, path: Path) -> None:
    """Change what a model says or holds, and sign it anew, so that its hash is right."""
    if rng.random() < 0.15:
        spoil_bytes(rng, path)
        return
    with safe_open(path, framework="pt") as opened:
        header = json.loads(opened.metadata()["hadgeo"])
        tensors = {name: opened.get_tensor(name) for name in opened.keys()}  # noqa: SIM118 - it is no mapping
    if rng.random() < 0.6:
        header = spoiled_json(rng, header)
    else:
        for _ in range(rng.choice((1, 1, 3))):
            _spoil_tensor(rng, tensors)
    text = to_json(_signed(header, tensors)).decode("utf-8", "surrogatepass")
    path.write_bytes(save(tensors, metadata={"hadgeo": text.encode("utf-8", "replace").decode()}))


def _signed(header: Any, tensors: dict[str, torch.Tensor]) -> Any:
    """The header with the hash that belongs to it, where it still is one."""
    from hadgeo.run.model_file import _digest, _Header

    try:
        return {**header, "hash": _digest(_Header.model_validate({**header, "hash": ""}), tensors)}
    except Exception:
        # It is refused in any case.
        return header


def _spoil_tensor(rng: random.Random, tensors: dict[str, torch.Tensor]) -> None:
    name = rng.choice(sorted(tensors)) if tensors else "x"
    value = tensors.get(name, torch.zeros(1))
    shape = [rng.choice((0, 1, 2, 3, 7, 64)) for _ in range(rng.choice((0, 1, 2, 3, 4)))]
    match rng.randrange(7):
        case 0:
            tensors.pop(name, None)
        case 1:
            tensors[name + "x"] = tensors.pop(name, value)
        case 2:
            tensors[name] = torch.zeros(shape, dtype=value.dtype)
        case 3:
            # The oldest safetensors can write no complex numbers.
            kinds = (torch.float16, torch.float64, torch.int64, torch.bool, torch.uint8, torch.int8, torch.bfloat16)
            tensors[name] = value.to(rng.choice(kinds))
        case 4:
            fill = rng.choice((float("nan"), float("inf"), 0.0, -1.0, 1e38, 1e-40))
            tensors[name] = torch.full_like(value, fill) if value.is_floating_point() else torch.zeros_like(value)
        case 5:
            tensors[name] = value.flatten()[: rng.randrange(value.numel() + 1)].clone()
        case _:
            tensors[name] = value.flip(0).contiguous().clone() if value.dim() else value.reshape(1).clone()


def spoil_tags(rng: random.Random, path: Path) -> None:
    """Change a tag of a raster or of one of its bands, or some bytes."""
    if rng.random() < 0.4:
        spoil_bytes(rng, path)
        return
    with rasterio.open(path, "r+", IGNORE_COG_LAYOUT_BREAK="YES") as file:
        band = rng.choice((0, 0, 1))
        tags = file.tags(band)
        name = rng.choice(
            (*sorted(tags), "wavelength", "fwhm", "bbl", "wavelength_units", "HADGEO_WARPED", "AREA_OR_POINT")
        )
        text = rng.choice(TEXTS).replace("\0", "").encode("utf-8", "replace").decode()
        file.update_tags(band, **{name: text})
        if rng.random() < 0.3:
            file.nodata = (
                rng.choice((0, 1, -1, None)) if file.dtypes[0].startswith(("u", "i")) else rng.choice((0.0, 1e38))
            )
        if rng.random() < 0.2:
            file.set_band_description(1, text)


def spoil_hdf5(rng: random.Random, path: Path) -> None:
    """Change an attribute or an array of an HDF5 file, or some bytes."""
    if rng.random() < 0.3:
        spoil_bytes(rng, path)
        return
    with h5py.File(path, "r+") as file:
        items: list[Any] = [file]
        file.visititems(lambda _, item: items.append(item))
        for _ in range(rng.choice((1, 1, 2))):
            item = rng.choice(items)
            if len(item.attrs) and (rng.random() < 0.6 or item is file):
                name = rng.choice(list(item.attrs))
                if name in ("DIMENSION_LIST", "REFERENCE_LIST", "CLASS"):
                    del item.attrs[name]
                    continue
                item.attrs[name] = _odd_value(rng)
            elif isinstance(item, h5py.Dataset) and item.name in file:
                _spoil_dataset(rng, file, item)
                return


def _odd_value(rng: random.Random) -> Any:
    text = rng.choice(TEXTS).replace("\0", "")
    return rng.choice(
        (
            text.encode("utf-8", "surrogatepass"),
            np.array([text.encode("utf-8", "replace")]),
            *(np.nan, np.inf, 0, -1, 2**62, 1e308, h5py.Empty("f4")),
            *(np.zeros(0), np.zeros((2, 3)), np.array([np.nan, 1.0]), np.int8(-128), np.array([1 + 2j])),
        )
    )


def _spoil_dataset(rng: random.Random, file: h5py.File, item: h5py.Dataset) -> None:
    name, attributes, shape = item.name, dict(item.attrs), item.shape or ()
    values = np.asarray(item[()]) if item.shape is not None else np.zeros(1)
    del file[name]
    match rng.randrange(7):
        case 0:
            return
        case 1:
            file[name] = values[..., :-1] if shape and shape[-1] > 1 else values
        case 2:
            file[name] = np.full(shape, rng.choice((np.nan, np.inf, 0, 1e38, -1e38)))
        case 3:
            file[name] = rng.choice((b"text", 0, np.zeros(0), np.zeros((1,) * 5), np.array([b"x"]), np.zeros(3, "c16")))
        case 4:
            file[name] = h5py.Empty("f4")
        case 5:
            file.create_group(name)
        case _:
            # Larger than any disk, and nothing of it is there.
            most = rng.choice((2**20, 2**31, 2**40))
            file.create_dataset(name, shape=(most,) * len(shape) if len(shape) < 2 else (most, *shape[1:]), dtype="f4",
                                chunks=(1,) * max(len(shape), 1) if len(shape) else None)  # fmt: skip
    if name in file and isinstance(file[name], h5py.Dataset):
        for key, value in attributes.items():
            if key not in ("DIMENSION_LIST", "REFERENCE_LIST", "CLASS"):
                file[name].attrs[key] = value


def spoil_matlab(rng: random.Random, path: Path) -> None:
    """Save other arrays under the names of a MATLAB file of version 5, or change some bytes."""
    if rng.random() < 0.5:
        spoil_bytes(rng, path)
        return
    arrays = {name: value for name, value in scipy.io.loadmat(path).items() if not name.startswith("__")}
    name = rng.choice(sorted(arrays))
    value = arrays[name]
    other: Any = rng.choice(
        (
            *(value[..., :0], value.ravel(), np.zeros((2, 3, 4), "c8"), np.ones(value.shape, bool), np.zeros((0, 0))),
            *("text", [], {"a": value}, _cells(value), float("nan"), 1e300),
            *(np.full(value.shape, np.nan), np.full(value.shape, np.inf), scipy.sparse.eye(3), [{"a": 1}, {"a": 2}]),
        )
    )
    arrays[rng.choice((name, name, "data", "wavelength", "map", "mask_x"))] = other
    scipy.io.savemat(path, arrays, do_compression=rng.random() < 0.5)


def _cells(value: Any) -> Any:
    cells = np.empty((1, 2), dtype=object)
    cells[0, 0], cells[0, 1] = value, "x"
    return cells


def spoil_values(rng: random.Random, path: Path) -> None:
    """Scale the samples of a raw file of doubles to the limits of what numbers can be, or set some of them there."""
    values = np.fromfile(path, "<f8")
    draw = np.random.default_rng(rng.randrange(2**32))
    if rng.random() < 0.5:
        with np.errstate(over="ignore", under="ignore"):
            values *= rng.choice((1e300, 1e-300, 1e-320, 1e38, 1e35, 1e30, 1e20, 1e-38, 1e-45, -1e300))
    for _ in range(rng.choice((0, 1, 1, 2))):
        extreme = rng.choice((3.3e38, -3.4e38, 3.5e38, 1e300, -1e308, np.inf, np.nan, 1e-310, -1e20, 0.0))
        some = draw.random(values.size) < rng.choice((0.0005, 0.01, 0.3, 1.1))
        values[some] = extreme
    path.write_bytes(values.astype("<f8").tobytes())


def anything(rng: random.Random, path: Path) -> None:
    """Change text as text, or as bytes."""
    (spoil_text if rng.random() < 0.75 else spoil_bytes)(rng, path)
