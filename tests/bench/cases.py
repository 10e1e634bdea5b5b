"""What is measured: every case with its spec, its sizes, its mask and score, and the line it must reach.

Knows nothing of processes or clocks. Masks and scores are written once and serve torch, numpy and the count of
allowed pairs alike: functions of tables and index arrays, built from operators that all of them have.
"""

from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

import memory

ROOT = Path(__file__).resolve().parents[2]

BLOCK = 64  # of the block pattern
DOCUMENTS = [0.05, 0.23, 0.08, 0.17, 0.02, 0.21, 0.09, 0.15]  # lengths of the packed documents, of N


@dataclass(frozen=True)
class Case:
    """One row of the table."""

    name: str
    family: str
    spec: str
    kind: str = "softmax"  # or "linear", "linear-causal"
    N: int = 2048
    B: int = 1
    H: int = 8
    G: int = 0  # key heads, H if 0
    M: int = 0  # queries, N if 0
    D: int = 64
    dtype: str = "f32"
    settings: dict = field(default_factory=dict)
    lines: dict = field(default_factory=dict)  # least ratio of a peer's time to attnc's
    peak: float = 0.0  # least part of the tile-product peak
    bandwidth: float = 0.0  # least part of the speed of reading memory
    peers: tuple = ()
    quick: bool = False
    note: str = ""

    @property
    def key_heads(self):
        return self.G or self.H

    @property
    def queries(self):
        return self.M or self.N

    def source(self):
        """The spec's text; inputs of the cases of bf16 are declared so."""
        text = (ROOT / self.spec).read_text()
        if self.dtype != "f32":
            for name in "qkv":
                text = text.replace(f"input {name}[", f"input {name}: {self.dtype}[")
        return text

    def inputs(self, seed=1):
        """Drawn inputs by name, f32 and tables; equal for all peers. Values of bf16 cases are exact in bf16."""
        rng = np.random.default_rng(seed)
        draw = lambda *shape: rng.standard_normal(shape, dtype=np.float32)
        found = {
            "q": draw(self.B, self.H, self.queries, self.D),
            "k": draw(self.B, self.key_heads, self.N, self.D),
            "v": draw(self.B, self.key_heads, self.N, self.D),
        }
        if self.dtype == "bf16":
            found = {name: memory.widen(memory.narrow(array)) for name, array in found.items()}
        if self.family == "document":
            ends = np.cumsum([int(part * self.N) for part in DOCUMENTS[:-1]])
            found["doc"] = np.searchsorted(ends, np.arange(self.N), side="right").astype(np.int32)[None]
        if self.family == "bigbird":
            rows = -(-self.N // BLOCK)
            found["random"] = rng.integers(0, rows, (self.H, rows, 3), dtype=np.int32)
        if self.family == "relative-bias":
            found["bias"] = draw(self.H, 2 * self.N - 1)
        return found

    @property
    def mask(self):
        """Whether query i of head h sees key j, on index arrays; `None` where it sees all."""
        return MASKS.get(self.family)

    @property
    def score(self):
        """The score as it is from what the product gives; `None` where that is it."""
        return SCORES.get(self.family)

    def pairs(self, inputs):
        """Allowed pairs over all heads and batches."""
        if self.mask is None:
            return self.B * self.H * self.queries * self.N
        if self.family in ("causal", "alibi", "softcap", "relative-bias"):
            return self.B * self.H * self.N * (self.N + 1) // 2
        heads = range(self.H) if self.family == "bigbird" else [0]
        rows = 1024
        total = 0
        for h in heads:
            for start in range(0, self.N, rows):
                i = np.arange(start, min(start + rows, self.N))[:, None]
                total += int(np.count_nonzero(self.mask(self, inputs, h, i, np.arange(self.N)[None])))
        return self.B * total * self.H // len(heads)

    def flops(self, inputs):
        """Operations that the result needs: two products per allowed pair; of linear forms, those over the state."""
        if self.kind == "softmax":
            return 4 * self.D * self.pairs(inputs)
        # State and its use; the causal form needs no more, however it is cut.
        return self.B * self.H * self.N * self.D * self.D * 4

    def bytes(self):
        """Bytes of keys and values."""
        return 2 * self.B * self.key_heads * self.N * self.D * (2 if self.dtype == "bf16" else 4)


def longformer(case, tables, h, i, j):
    w, g = case.settings["w"], case.settings["g"]
    return ((i - j <= w) & (j - i <= w)) | (i < g) | (j < g)


def bigbird(case, tables, h, i, j):
    row, col = i // BLOCK, j // BLOCK
    picked = tables["random"]
    found = (row - col <= 1) & (col - row <= 1) | (col == 0)
    for r in range(3):
        found = found | (picked[h, row, r] == col)
    return found


def strided(case, tables, h, i, j):
    # Distances are shifted upwards: remainders of negative numbers differ between libraries.
    return ((i - j <= 64) & (j - i <= 64)) | ((i - j + case.N * 128) % 128 == 0)


def causal(case, tables, h, i, j):
    return j <= i


MASKS = {
    "causal": causal,
    "alibi": causal,
    "softcap": causal,
    "relative-bias": causal,
    "window": lambda case, tables, h, i, j: (j <= i) & (i - j < 256),
    "longformer": longformer,
    "document": lambda case, tables, h, i, j: (tables["doc"][0, i] == tables["doc"][0, j]) & (j <= i),
    "prefix": lambda case, tables, h, i, j: (j < case.N // 4) | (j <= i),
    "bigbird": bigbird,
    "strided": strided,
}

# `lib` has `tanh` and `exp2`: torch or numpy.
SCORES = {
    "alibi": lambda case, tables, lib, s, h, i, j: s - lib.exp2(-8.0 * (h + 1) / case.H) * (i - j),
    "softcap": lambda case, tables, lib, s, h, i, j: 20.0 * lib.tanh(s / 20.0),
    "relative-bias": lambda case, tables, lib, s, h, i, j: s + tables["bias"][h, i - j + (case.N - 1)],
}

TORCH, FLEX, MASKED = "torch", "flex", "torch-mask"
EAGER, COMPILED = "torch-eager", "torch-compiled"
TUNED_EAGER, TUNED_COMPILED = "torch-eager-tuned", "torch-compiled-tuned"
PLAIN = "attnc-causal"  # attnc's own plain causal kernel

DENSE, CAUSAL = "ir-specs/dense/softmax.attn", "ir-specs/dense/causal.attn"
OWN = "tests/bench/specs/"
WITHIN_A_FIFTH = 1 / 1.2


def all_cases():
    cases = []
    add = lambda *args, **more: cases.append(Case(*args, **more))
    plain = (TORCH, "jax", "onnxruntime", "numpy")
    for n in (2048, 4096, 8192):
        lines = {TORCH: 1.15}
        add(f"dense-{n}", "dense", DENSE, N=n, lines=lines, peak=0.8, peers=plain, quick=n == 2048)
    for n in (2048, 4096):
        add(f"dense-d128-{n}", "dense", DENSE, N=n, D=128, lines={TORCH: 1.1}, peers=plain)
    for n, ratio in ((512, 2.0), (2048, 1.4), (8192, 1.2)):
        add(f"causal-{n}", "causal", CAUSAL, N=n, lines={TORCH: ratio}, peers=plain + (FLEX,), quick=n < 4096)
    for family, spec in (("dense", DENSE), ("causal", CAUSAL)):
        for n in (2048, 8192):
            add(f"bf16-{family}-{n}", family, spec, N=n, dtype="bf16", lines={TORCH: 1.2}, peers=(TORCH,))
    scores = (
        ("alibi", "ir-specs/dense/alibi.attn", {}),
        ("softcap", "ir-specs/dense/softcap.attn", {"cap": 20}),
        ("relative-bias", OWN + "relative-bias-causal.attn", {}),
    )
    for family, spec, settings in scores:
        for n in (4096, 8192):
            lines = {FLEX: 3.0, PLAIN: WITHIN_A_FIFTH}
            add(f"{family}-{n}", family, spec, N=n, settings=settings, lines=lines, peers=(FLEX, PLAIN))
    for n in (8192, 16384):
        add(f"window-{n}", "window", OWN + "window-causal.attn", N=n, lines={FLEX: 4.0, MASKED: 20.0}, peak=0.6,
            peers=(FLEX, MASKED))
    n = 8192
    sparse = (
        ("longformer", "ir-specs/masked/longformer.attn", {"w": 256, "g": 64}, 3.0),
        ("document", "ir-specs/masked/document.attn", {}, 3.0),
        ("prefix", "ir-specs/masked/prefix-lm.attn", {"p": n // 4}, 3.0),
        ("bigbird", OWN + "window-global-random.attn", {}, 8.0),
        ("strided", OWN + "window-strided.attn", {}, 40.0),
    )
    for family, spec, settings, ratio in sparse:
        add(f"{family}-{n}", family, spec, N=n, settings=settings, lines={FLEX: ratio}, peers=(FLEX,))
    torch = (EAGER, COMPILED, TUNED_EAGER, TUNED_COMPILED)
    for kind, spec, ratios in (
        ("linear", "ir-specs/linear/linear-transformer.attn", {4096: 3.0, 65536: 3.0}),
        ("linear-causal", "ir-specs/linear/linear-transformer-causal.attn", {4096: 4.0, 65536: 5.0}),
    ):
        for n, ratio in ratios.items():
            lines = {EAGER: ratio, COMPILED: ratio, "jax": ratio, TUNED_EAGER: 2.0, TUNED_COMPILED: 2.0}
            add(f"{kind}-{n}", kind, spec, kind=kind, N=n, lines=lines, peers=torch + ("jax",), quick=n == 4096)
        for n in (8192, 32768, 131072, 1048576):
            add(f"{kind}-slope-{n}", kind, spec, kind=kind, N=n)
    for dtype in ("f32", "bf16"):
        add(f"decode-{dtype}", "decode", OWN + "grouped-decode.attn", N=65536, M=1, H=32, G=8, D=128, dtype=dtype,
            lines={TORCH: 3.0}, bandwidth=0.8, peers=(TORCH, "jax") if dtype == "f32" else (TORCH,))
    for n in (16, 64):
        add(f"tiny-{n}", "dense", DENSE, N=n, lines={TORCH: 2.0}, peers=(TORCH, "onnxruntime", "numpy"), quick=True)
    add("tiny-16-h1", "dense", DENSE, N=16, H=1, peers=(TORCH,), quick=True)
    return cases
