"""Exact products of many int8 vectors with many others, by the processor's 8-bit instructions where it has them.

An AVX-512 VNNI instruction multiplies 64 pairs of bytes and adds them up in fours, four times as many as its float32
counterpart multiplies. Its left side is unsigned, so left vectors are shifted by 128, and each column starts at
``-128 * (sum of its vector)``, which takes the shift out again: sums stay below 2^31, and the result is exact.

Left vectors have shape (n, d). Right vectors stand in panels of `WIDTH` columns, shape (panels, d4, 4 * WIDTH), where
d4 is d / 4 rounded up: what one instruction multiplies lies together.
"""

from __future__ import annotations

from typing import Any

import llvmlite.binding
import numpy as np
import numpy.typing as npt
from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

from oasis.kernels.compiled import kernel

__all__ = ["ROWS", "WIDTH", "has_byte_products", "pack", "products", "products_numpy", "shifted"]

I8 = npt.NDArray[np.int8]
I32 = npt.NDArray[np.int32]
U8 = npt.NDArray[np.uint8]

ROWS = 6
"""Left vectors multiplied together: 6 x 4 sums of 16 columns, 4 right and 1 left operand fill 29 of 32 registers."""
_COLUMNS = 4  # registers of 16 columns
WIDTH = 16 * _COLUMNS


def has_byte_products() -> bool:
    """Return whether this processor has the instruction."""
    features = llvmlite.binding.get_host_cpu_features()
    return bool(features.get("avx512vnni") and features.get("avx512f"))


def shifted(vectors: I8) -> U8:
    """Return left vectors as `products` takes them: each number plus 128, zeros behind to a multiple of four."""
    n, d = vectors.shape
    out = np.full((n, -(-d // 4) * 4), 128, np.uint8)
    out[:, :d] = vectors.view(np.uint8) ^ 128
    return out


def pack(vectors: I8) -> tuple[I8, I32]:
    """Return (panels, starts) of right vectors; starts has shape (panels, WIDTH). Further columns are zeros."""
    n, d = vectors.shape
    panels, fours = -(-n // WIDTH), -(-d // 4)
    padded = np.zeros((panels * WIDTH, 4 * fours), np.int8)
    padded[:n, :d] = vectors
    starts = -128 * padded.sum(axis=1, dtype=np.int32)
    packed = padded.reshape(panels, WIDTH, fours, 4).transpose(0, 2, 1, 3).reshape(panels, fours, 4 * WIDTH)
    return np.ascontiguousarray(packed), starts.reshape(panels, WIDTH)


@intrinsic  # type: ignore[untyped-decorator]
def _multiply(typing: Any, left: Any, row: Any, panels: Any, starts: Any, panel: Any, out: Any) -> Any:
    """Fill ``out[:ROWS, panel * WIDTH:][:, :WIDTH]`` with products of ``left[row:row + ROWS]`` and one panel."""
    signature = types.void(left, types.int64, panels, starts, types.int64, out)

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        byte, word, index = ir.IntType(8), ir.IntType(32), ir.IntType(64)
        vector = ir.VectorType(word, 16)
        name = "llvm.x86.avx512.vpdpbusd.512"
        instruction = builder.module.globals.get(name) or ir.Function(
            builder.module, ir.FunctionType(vector, [vector, vector, vector]), name
        )

        def array(at: int) -> Any:
            return context.make_array(signature.args[at])(context, builder, arguments[at])

        def number(value: int) -> Any:
            return ir.Constant(index, value)

        def address(start: Any, offset: Any, kind: Any) -> Any:
            return builder.bitcast(builder.gep(builder.bitcast(start, byte.as_pointer()), [offset]), kind.as_pointer())

        def load(start: Any, offset: Any, kind: Any) -> Any:
            value = builder.load(address(start, offset, kind))
            value.align = 1
            return value

        lefts, rights, firsts, outs = (array(at) for at in (0, 2, 3, 5))
        lefts_row = cgutils.unpack_tuple(builder, lefts.strides)[0]
        outs_row = cgutils.unpack_tuple(builder, outs.strides)[0]
        fours = cgutils.unpack_tuple(builder, rights.shape)[1]
        row, panel = arguments[1], arguments[4]
        panel_size = builder.mul(fours, number(4 * WIDTH))
        right_start = builder.gep(builder.bitcast(rights.data, byte.as_pointer()), [builder.mul(panel, panel_size)])
        left_start = builder.gep(builder.bitcast(lefts.data, byte.as_pointer()), [builder.mul(row, lefts_row)])
        first = builder.mul(panel, number(4 * WIDTH))
        begin = [load(firsts.data, builder.add(first, number(64 * c)), vector) for c in range(_COLUMNS)]

        before = builder.block
        loop, after = builder.append_basic_block("loop"), builder.append_basic_block("after")
        builder.branch(loop)
        builder.position_at_end(loop)
        four = builder.phi(index)
        four.add_incoming(number(0), before)
        sums = [[builder.phi(vector) for _ in range(_COLUMNS)] for _ in range(ROWS)]
        columns = [
            load(right_start, builder.add(builder.mul(four, number(4 * WIDTH)), number(64 * c)), vector)
            for c in range(_COLUMNS)
        ]
        nothing = ir.Constant(vector, ir.Undefined)
        for r in range(ROWS):
            offset = builder.add(builder.mul(lefts_row, number(r)), builder.mul(four, number(4)))
            one = builder.insert_element(nothing, load(left_start, offset, word), ir.Constant(word, 0))
            all_same = builder.shuffle_vector(one, nothing, ir.Constant(vector, [0] * 16))
            for c in range(_COLUMNS):
                sums[r][c].add_incoming(begin[c], before)
                sums[r][c].add_incoming(builder.call(instruction, [sums[r][c], all_same, columns[c]]), loop)
        following = builder.add(four, number(1))
        four.add_incoming(following, loop)
        builder.cbranch(builder.icmp_signed("<", following, fours), loop, after)

        builder.position_at_end(after)
        for r in range(ROWS):
            for c in range(_COLUMNS):
                offset = builder.add(builder.mul(outs_row, number(r)), builder.add(first, number(64 * c)))
                stored = builder.store(sums[r][c].incomings[1][0], address(outs.data, offset, vector))
                stored.align = 1
        return context.get_dummy_value()

    return signature, generate


@kernel()
def products(left: U8, panels: I8, starts: I32, out: I32) -> None:
    """Fill ``out`` (n, panels * WIDTH) with the products of all left and right vectors.

    Only where `has_byte_products`. `n` is a multiple of `ROWS`; the arrays are C-contiguous.
    """
    for panel in range(len(panels)):
        for row in range(0, len(left), ROWS):
            _multiply(left, row, panels, starts, panel, out[row : row + ROWS])


def products_numpy(left: I8, right: I8) -> I32:
    """Return the products of all left and right vectors, with NumPy alone."""
    return np.asarray(left.astype(np.int32) @ right.astype(np.int32).T, np.int32)
