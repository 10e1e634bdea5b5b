"""Arrays as the peers get them: where they begin in memory, and bf16, which numpy does not have."""

import math

import numpy as np


def empty(shape, dtype):
    """An array that begins where a line of memory does, as tensors of torch and JAX do and numpy's arrays do not."""
    count, line = math.prod(shape) * np.dtype(dtype).itemsize, 64
    block = np.zeros(count + line, np.uint8)
    skipped = -block.ctypes.data % line
    return block[skipped:skipped + count].view(dtype).reshape(shape)


def aligned(array):
    """A copy that begins where a line of memory does."""
    copy = empty(array.shape, array.dtype)
    copy[...] = array
    return copy


def narrow(array):
    """The nearest bf16, as bits."""
    bits = np.ascontiguousarray(array).view(np.uint32)
    return aligned(((bits + 0x7FFF + ((bits >> 16) & 1)) >> 16).astype(np.uint16))


def widen(bits):
    return (bits.astype(np.uint32) << 16).view(np.float32)
