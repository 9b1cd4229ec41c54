"""Image files that need nothing but decoding: of the frame's own size, upright, opaque, of 8 bits a channel.

Most sets of many files are of such, and for an image of a thousand pixels the objects that Pillow makes of a file cost
more than its pixels. So these are handed to Pillow's decoders as they are. What is not as plain as can be, or damaged,
is left to `tasks.decode`, which gives the same pixels wherever this gives any.
"""

from __future__ import annotations

import struct
import zlib
from typing import NamedTuple

import numpy as np
from jaxtyping import UInt8
from PIL import Image

PNG = b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR"
PNG_MODES = {b"\x08\x00\x00\x00\x00": "L", b"\x08\x02\x00\x00\x00": "RGB"}  # 8 bits, grey or colours, not interlaced
JPEG = b"\xff\xd8\xff"
JPEG_MODES = {1: "L", 3: "RGB"}  # by the number of channels
JFIF, COMMENT = 0xE0, 0xFE  # segments that change nothing; EXIF, Adobe's, profiles and further pictures have others
QUANTISATION, HUFFMAN, RESTART = 0xDB, 0xC4, 0xDD
FRAMES = (0xC0, 0xC2)  # baseline and progressive
SCAN = 0xDA


class Plain(NamedTuple):
    """What a plain file tells: its size, Pillow's mode, and what its decoder wants, with the arguments of that one."""

    width: int
    height: int
    mode: str
    data: bytes
    decoder: tuple[str, str, str | int]


def plain(encoded: bytes) -> Plain | None:
    """What a plain PNG or JPEG tells; None for any other file. Whether its pixels are damaged is not looked at."""
    return _png(encoded) if encoded.startswith(PNG) else _jpeg(encoded) if encoded.startswith(JPEG) else None


def plain_pixels(encoded: bytes, width: int, height: int) -> UInt8[np.ndarray, "h w 3"] | None:
    """The pixels of a plain file of this size; None for any other file, and for a damaged one."""
    told = plain(encoded)
    if told is None or (told.width, told.height) != (width, height):
        return None
    try:
        levels = Image.frombytes(told.mode, (width, height), told.data, *told.decoder).tobytes()
    except Exception:  # whatever a decoder meets in hostile bytes
        return None
    pixels = np.frombuffer(levels, np.uint8).reshape(height, width, -1)
    return pixels if told.mode == "RGB" else np.repeat(pixels, 3, axis=2)


def _png(encoded: bytes) -> Plain | None:
    """One that holds no more than its size and its compressed lines."""
    mode = PNG_MODES.get(encoded[24:29])
    if mode is None or zlib.crc32(encoded[12:29]) != int.from_bytes(encoded[29:33], "big"):
        return None
    width, height = struct.unpack_from(">2I", encoded, 16)
    parts, at = [], 33
    while encoded[at + 4 : at + 8] == b"IDAT":
        length = int.from_bytes(encoded[at : at + 4], "big")
        parts.append(encoded[at + 8 : at + 8 + length])
        at += 12 + length
    if encoded[at : at + 8] != b"\0\0\0\0IEND":
        return None
    return Plain(width, height, mode, parts[0] if len(parts) == 1 else b"".join(parts), ("zip", mode, 0))


def _jpeg(encoded: bytes) -> Plain | None:
    """One whose segments are those that its pixels need."""
    at, told = 2, None
    while encoded[at : at + 1] == b"\xff" and at + 10 <= len(encoded):
        marker, length = encoded[at + 1], int.from_bytes(encoded[at + 2 : at + 4], "big")
        if marker == SCAN:
            return told
        if marker in FRAMES and told is None:
            bits, height, width, channels = struct.unpack_from(">BHHB", encoded, at + 4)
            if bits != 8 or channels not in JPEG_MODES or length != 8 + 3 * channels:
                return None
            told = Plain(width, height, JPEG_MODES[channels], encoded, ("jpeg", JPEG_MODES[channels], ""))
        elif marker == JFIF:
            if length != 16 or encoded[at + 4 : at + 9] != b"JFIF\0":
                return None
        elif marker == QUANTISATION:
            if length % 65 != 2:  # whole tables of 8 bits
                return None
        elif length < 2 or marker not in (COMMENT, HUFFMAN, RESTART):
            return None
        at += 2 + length
    return None
