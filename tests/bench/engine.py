"""attnc through ctypes: a thin private module over `module/`, zero-copy on numpy arrays.

Owns the conversion of arrays to what the C functions take. Not a binding to build on: names and layout may change
with any commit.
"""

import ctypes
import os
from pathlib import Path

import numpy as np

import memory

ROOT = Path(__file__).resolve().parents[2]

# Types by number; module/src/tensor.rs has the same list. numpy has no bf16: its bits are in a uint16.
TYPES = ["f32", "f64", "f16", "bf16", "i8", "u8", "i32", "i64", "bool"]
NUMPY = {
    "float32": "f32", "float64": "f64", "float16": "f16", "uint16": "bf16", "int8": "i8",
    "uint8": "u8", "int32": "i32", "int64": "i64", "bool": "bool",
}


class Tensor(ctypes.Structure):
    _fields_ = [
        ("name", ctypes.c_char_p), ("data", ctypes.c_void_p),
        ("shape", ctypes.POINTER(ctypes.c_int64)), ("strides", ctypes.POINTER(ctypes.c_int64)),
        ("rank", ctypes.c_int32), ("dtype", ctypes.c_int32),
    ]


class Message(ctypes.Structure):
    _fields_ = [("text", ctypes.c_char_p), ("capacity", ctypes.c_size_t)]

    @classmethod
    def make(cls, capacity=4096):
        buffer = ctypes.create_string_buffer(capacity)
        message = cls(ctypes.cast(buffer, ctypes.c_char_p), capacity)
        message.buffer = buffer
        return message


class Call(ctypes.Structure):
    """What `attnc_bench_run` takes: one argument, since handing over six takes longer than a short kernel runs."""

    _fields_ = [
        ("kernel", ctypes.c_void_p),
        ("inputs", ctypes.POINTER(Tensor)), ("input_count", ctypes.c_size_t),
        ("outputs", ctypes.POINTER(Tensor)), ("output_count", ctypes.c_size_t),
        ("message", ctypes.POINTER(Message)),
    ]


class Limits(ctypes.Structure):
    _fields_ = [("product_gflops", ctypes.c_double), ("read_gbytes_s", ctypes.c_double)]


class EngineError(Exception):
    """What attnc said."""


def module_path():
    target = Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target"))
    names = ["libattnc_bench.so", "libattnc_bench.dylib", "attnc_bench.dll"]
    found = [target / "release" / name for name in names if (target / "release" / name).exists()]
    if not found:
        raise EngineError("the engine is not built: cargo build --release -p attnc-bench")
    return found[0]


def load():
    library = ctypes.CDLL(str(module_path()))
    tensors, message = ctypes.POINTER(Tensor), ctypes.POINTER(Message)
    library.attnc_bench_compile.argtypes = [ctypes.c_char_p, ctypes.c_char_p, ctypes.c_size_t, message]
    library.attnc_bench_compile.restype = ctypes.c_void_p
    size = ctypes.c_size_t
    library.attnc_bench_run.argtypes = [ctypes.c_void_p]
    library.attnc_bench_output.argtypes = [
        ctypes.c_void_p, tensors, size, ctypes.POINTER(ctypes.c_int64), message, message,
    ]
    library.attnc_bench_free.argtypes = [ctypes.c_void_p]
    library.attnc_bench_free.restype = None
    library.attnc_bench_limits.argtypes = [size, ctypes.POINTER(Limits)]
    return library


def limits(threads):
    """What the machine can do with so many threads: tile products and reading of memory."""
    found = Limits()
    if load().attnc_bench_limits(threads, ctypes.byref(found)) != 0:
        raise EngineError("the machine's limits cannot be measured")
    return {"product_gflops": found.product_gflops, "read_gbytes_s": found.read_gbytes_s}


def tensors(arrays):
    """Arrays by name as the C functions take them. The result keeps names, extents and arrays alive."""
    made = (Tensor * len(arrays))()
    made.kept = []
    for tensor, (name, array) in zip(made, arrays.items()):
        kind = NUMPY.get(array.dtype.name)
        if kind is None:
            raise EngineError(f"`{name}`: attnc has no type for {array.dtype}")
        shape = (ctypes.c_int64 * array.ndim)(*array.shape)
        strides = (ctypes.c_int64 * array.ndim)(*[s // array.itemsize for s in array.strides])
        text = name.encode()
        tensor.name, tensor.data, tensor.shape, tensor.strides = text, array.ctypes.data, shape, strides
        tensor.rank, tensor.dtype = array.ndim, TYPES.index(kind)
        made.kept.append((text, shape, strides, array))
    return made


class Kernel:
    """A compiled spec."""

    def __init__(self, source, settings, threads):
        self.handle = None
        self.module = load()
        self.message = Message.make()
        lines = "\n".join(f"{name}={value}" for name, value in settings.items())
        self.handle = self.module.attnc_bench_compile(
            source.encode(), lines.encode(), threads, ctypes.byref(self.message)
        )
        self.check(bool(self.handle))

    def __del__(self):
        if self.handle:
            self.module.attnc_bench_free(self.handle)

    def check(self, fine):
        if not fine:
            raise EngineError(self.message.buffer.value.decode())

    def bind(self, inputs):
        """Arguments for `inputs`: a function that runs the kernel, its output, and the name of the form it takes."""
        given = tensors(inputs)
        shape, form = (ctypes.c_int64 * 8)(), Message.make()
        rank = self.module.attnc_bench_output(
            self.handle, given, len(given), shape, ctypes.byref(form), ctypes.byref(self.message)
        )
        self.check(rank >= 0)
        out = memory.empty(tuple(shape[:rank]), np.float32)
        taken = tensors({"out": out})
        whole = Call(self.handle, given, len(given), taken, 1, ctypes.pointer(self.message))
        whole.kept = given, taken
        run, address = self.module.attnc_bench_run, ctypes.addressof(whole)

        def call(whole=whole):  # Keeps what lies at the address.
            if run(address) != 0:
                self.check(False)
            return out

        return call, out, form.buffer.value.decode()
