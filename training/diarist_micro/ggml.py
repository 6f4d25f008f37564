"""The GGML file of a Whisper model: reading and writing its header and its tensors, q8_0 blocks."""

import math
import struct
from dataclasses import dataclass
from pathlib import Path

import numpy as np

MAGIC = 0x67676D6C
F32, F16, Q8_0 = 0, 1, 8  # ggml's tensor types
FTYPES = {F32: 0, F16: 1, Q8_0: 2007}  # the file's type; 2000 = quantisation version 2
Q8_BLOCK = 32
Q8_BLOCKS = np.dtype([("scale", "<f2"), ("values", "i1", Q8_BLOCK)])


@dataclass
class Header:
    """What a file holds besides its weights."""

    hparams: tuple[int, ...]  # n_vocab, audio (ctx, state, head, layer), text (the same), n_mels, ftype
    filters: np.ndarray  # (80, 201) float32
    vocabulary: list[bytes]  # one byte string per text token


def read_header(path) -> Header:
    """The header of the GGML Whisper model at `path`."""
    return _parse_header(Path(path).read_bytes(), path)[0]


def read_model(path) -> tuple[Header, dict[str, np.ndarray]]:
    """The header and all tensors, as float32, of the GGML Whisper model at `path`."""
    data = Path(path).read_bytes()
    header, at = _parse_header(data, path)
    tensors = {}
    while at < len(data):
        dimensions, length, kind = struct.unpack_from("3i", data, at)
        shape = struct.unpack_from(f"{dimensions}i", data, at + 12)[::-1]
        at += 12 + 4 * dimensions
        name = data[at : at + length].decode()
        at += length
        tensors[name], size = _decode(data, at, math.prod(shape), kind)
        tensors[name] = tensors[name].reshape(shape)
        at += size
    return header, tensors


def _decode(data: bytes, at: int, count: int, kind: int) -> tuple[np.ndarray, int]:
    """`count` values of one of ggml's types at byte `at`, and the number of bytes they take."""
    if kind == Q8_0:
        blocks = np.frombuffer(data, Q8_BLOCKS, count // Q8_BLOCK, at)
        return blocks["values"] * blocks["scale"][:, None].astype(np.float32), blocks.nbytes
    values = np.frombuffer(data, {F16: "<f2", F32: "<f4"}[kind], count, at)
    return values.astype(np.float32), values.nbytes


def _parse_header(data: bytes, path) -> tuple[Header, int]:
    """The header in a file's bytes, and where the tensors begin."""
    magic, *hparams = struct.unpack_from("12i", data, 0)
    if magic != MAGIC:
        raise ValueError(f"{path} is not a GGML model: it begins with {magic:#x}, not {MAGIC:#x}")
    at = 48
    rows, columns = struct.unpack_from("2i", data, at)
    at += 8
    filters = np.frombuffer(data, "<f4", rows * columns, at).reshape(rows, columns).copy()
    at += filters.nbytes
    (count,) = struct.unpack_from("i", data, at)
    at += 4
    vocabulary = []
    for _ in range(count):
        (length,) = struct.unpack_from("i", data, at)
        vocabulary.append(data[at + 4 : at + 4 + length])
        at += 4 + length
    return Header(tuple(hparams), filters, vocabulary), at


def quantise_q8_0(values: np.ndarray) -> bytes:
    """Blocks of 32 values along the last axis, each a float16 scale and 32 signed bytes."""
    if values.shape[-1] % Q8_BLOCK:
        raise ValueError(f"the last axis has {values.shape[-1]} values, q8_0 needs a multiple of {Q8_BLOCK}")
    blocks = np.ascontiguousarray(values, np.float32).reshape(-1, Q8_BLOCK)
    scale = np.abs(blocks).max(axis=1) / 127
    inverse = np.divide(1, scale, out=np.zeros_like(scale), where=scale > 0)
    scaled = blocks * inverse[:, None]
    whole = np.trunc(scaled + np.copysign(np.float32(0.5), scaled))  # roundf: halves go away from zero
    packed = np.empty(len(blocks), dtype=Q8_BLOCKS)
    packed["scale"], packed["values"] = scale, whole
    return packed.tobytes()


def tensor_type(name: str, shape: tuple[int, ...], wanted: int) -> int:
    """The type whisper.cpp expects of a tensor in a file of type `wanted`."""
    if len(shape) < 2 or "positional_embedding" in name or name.endswith("bias"):
        return F32
    if ".conv" in name or name.startswith("conv"):
        return F16 if wanted != F32 else F32
    return wanted


def write_model(path, header: Header, tensors: dict[str, np.ndarray], wanted: int) -> None:
    """Writes a model file; `header.hparams` gives the dimensions, `wanted` the type of the weights."""
    hparams = (*header.hparams[:-1], FTYPES[wanted])
    with open(path, "wb") as file:
        file.write(struct.pack("12i", MAGIC, *hparams))
        file.write(struct.pack("2i", *header.filters.shape) + header.filters.astype("<f4").tobytes())
        file.write(struct.pack("i", len(header.vocabulary)))
        for token in header.vocabulary:
            file.write(struct.pack("i", len(token)) + token)
        for name, values in tensors.items():
            kind = tensor_type(name, values.shape, wanted)
            file.write(struct.pack("3i", values.ndim, len(name), kind))
            file.write(struct.pack(f"{values.ndim}i", *reversed(values.shape)))
            file.write(name.encode())
            file.write(encode(values, kind))


def encode(values: np.ndarray, kind: int) -> bytes:
    """The bytes of a tensor in one of ggml's types."""
    if kind == Q8_0:
        return quantise_q8_0(values)
    return np.ascontiguousarray(values).astype("<f2" if kind == F16 else "<f4").tobytes()
