"""The peers: for a case and its inputs, a function that computes the result once.

Each `prepare_*` does everything that a user does once (conversion, compilation, block masks) and returns a function
to be timed and one that turns its result into a numpy array. Imports happen inside, so that one process loads one
peer. `None` where a peer has no way to compute a case.
"""

import math

import numpy as np

import cases
import memory


def prepare(peer, case, inputs, threads):
    """The function to time, the conversion of its result, and words about how it is done."""
    return PEERS[peer](case, inputs, threads)


def attnc(case, inputs, threads):
    import engine

    if case.dtype == "bf16":
        inputs = {n: memory.narrow(a) if a.dtype == np.float32 else a for n, a in inputs.items()}
    call, _, form = engine.Kernel(case.source(), case.settings, threads).bind(inputs)
    return call, lambda out: out, form


def attnc_causal(case, inputs, threads):
    import engine

    given = {name: inputs[name] for name in "qkv"}
    call, _, form = engine.Kernel((cases.ROOT / cases.CAUSAL).read_text(), {}, threads).bind(given)
    return call, None, form


# numpy

def numpy(case, inputs, threads):
    q, k, v = (inputs[name] for name in "qkv")
    rows = max(1, min(case.N, (1 << 25) // case.N))

    def call():
        out = np.empty((case.B, case.H, case.N, case.D), np.float32)
        j = np.arange(case.N)[None]
        for b in range(case.B):
            for h in range(case.H):
                for start in range(0, case.N, rows):
                    part = slice(start, start + rows)
                    s = q[b, h, part] @ k[b, h].T
                    s *= 1 / math.sqrt(case.D)
                    if case.mask is not None:
                        i = np.arange(case.N)[part, None]
                        s = np.where(case.mask(case, inputs, h, i, j), s, -np.inf)
                    s -= s.max(-1, keepdims=True)
                    np.exp(s, out=s)
                    s /= s.sum(-1, keepdims=True)
                    out[b, h, part] = s @ v[b, h]
        return out

    return call, lambda out: out, "matmul, exp"


# torch

def torch_inputs(case, inputs, threads):
    import torch

    torch.set_num_threads(threads)
    torch.set_grad_enabled(False)
    kind = torch.bfloat16 if case.dtype == "bf16" else torch.float32
    q, k, v = (torch.from_numpy(inputs[name]).to(kind) for name in "qkv")
    tables = {name: torch.from_numpy(a) for name, a in inputs.items() if name not in "qkv"}
    return torch, q, k, v, tables


def from_torch(out):
    return out.float().numpy()


def torch_sdpa(case, inputs, threads):
    torch, q, k, v, _ = torch_inputs(case, inputs, threads)
    attend = torch.nn.functional.scaled_dot_product_attention
    is_causal, grouped = case.family == "causal", case.key_heads != case.H
    return lambda: attend(q, k, v, is_causal=is_causal, enable_gqa=grouped), from_torch, "SDPA"


def torch_mask(case, inputs, threads):
    torch, q, k, v, tables = torch_inputs(case, inputs, threads)
    i = torch.arange(case.N)
    mask = case.mask(case, tables, 0, i[:, None], i[None])
    attend = torch.nn.functional.scaled_dot_product_attention
    return lambda: attend(q, k, v, attn_mask=mask), from_torch, "SDPA with a mask of truth values"


def flex(case, inputs, threads):
    torch, q, k, v, tables = torch_inputs(case, inputs, threads)
    from torch.nn.attention.flex_attention import create_block_mask, flex_attention

    def mask_mod(b, h, i, j):
        return case.mask(case, tables, h, i, j)

    def score_mod(s, b, h, i, j):
        return case.score(case, tables, torch, s, h, i, j)

    size = {"BLOCK_SIZE": cases.BLOCK} if case.family == "bigbird" else {}
    heads = case.H if case.family == "bigbird" else None
    block_mask = create_block_mask(mask_mod, None, heads, case.N, case.N, device="cpu", **size)
    compiled = torch.compile(flex_attention, dynamic=False)
    score = score_mod if case.score else None
    return lambda: compiled(q, k, v, score_mod=score, block_mask=block_mask), from_torch, "FlexAttention compiled"


def linear_forms(torch, causal, chunk=128):
    """Linear attention as one writes it in torch: reassociated by hand; causal in chunks."""
    phi = lambda x: torch.nn.functional.elu(x) + 1

    def plain(q, k, v):
        q, k = phi(q), phi(k)
        return (q @ (k.transpose(-1, -2) @ v)) / (q @ k.sum(-2).unsqueeze(-1))

    def chunked(q, k, v):
        B, H, N, D = q.shape
        cut = lambda x: x.reshape(B, H, N // chunk, chunk, D)
        q, k, v = cut(phi(q)), cut(phi(k)), cut(v)
        states = k.transpose(-1, -2) @ v
        sums = k.sum(-2)
        states = states.cumsum(2) - states
        sums = sums.cumsum(2) - sums
        within = (q @ k.transpose(-1, -2)).tril()
        out = within @ v + q @ states
        norm = within.sum(-1, keepdim=True) + q @ sums.unsqueeze(-1)
        return (out / norm).reshape(B, H, N, D)

    return chunked if causal else plain


def torch_linear(compiled):
    def prepare(case, inputs, threads):
        torch, q, k, v, _ = torch_inputs(case, inputs, threads)
        form = linear_forms(torch, case.kind == "linear-causal")
        how = "reassociated by hand" if case.kind == "linear" else "chunks of 128"
        function = torch.compile(form, dynamic=False) if compiled else form
        return lambda: function(q, k, v), from_torch, how

    return prepare


# JAX

def jax(case, inputs, threads):
    import jax as library
    import jax.numpy as jnp

    q, k, v = (jnp.asarray(inputs[name]) for name in "qkv")
    function = library.jit(jax_form(library, jnp, case))
    return lambda: function(q, k, v).block_until_ready(), np.asarray, "jit"


def jax_form(library, jnp, case):
    phi = lambda x: library.nn.elu(x) + 1
    scale = 1 / math.sqrt(case.D)

    def softmax(q, k, v):
        q = q.reshape(case.B, case.key_heads, -1, case.queries, case.D)
        s = jnp.einsum("bgrid,bgjd->bgrij", q, k) * scale
        if case.mask is not None:
            i = jnp.arange(case.N)
            s = jnp.where(case.mask(case, {}, 0, i[:, None], i[None]), s, -jnp.inf)
        out = jnp.einsum("bgrij,bgje->bgrie", library.nn.softmax(s, axis=-1), v)
        return out.reshape(case.B, case.H, case.queries, case.D)

    def linear(q, k, v):
        q, k = phi(q), phi(k)
        state = jnp.einsum("bhjd,bhje->bhde", k, v)
        return jnp.einsum("bhid,bhde->bhie", q, state) / jnp.einsum("bhid,bhd->bhi", q, k.sum(2))[..., None]

    def linear_causal(q, k, v, chunk=128):
        q, k = phi(q), phi(k)
        cut = lambda x: jnp.moveaxis(x.reshape(case.B, case.H, case.N // chunk, chunk, case.D), 2, 0)

        def step(carry, part):
            state, total = carry
            q, k, v = part
            within = jnp.tril(jnp.einsum("bhid,bhjd->bhij", q, k))
            out = within @ v + q @ state
            norm = within.sum(-1) + jnp.einsum("bhid,bhd->bhi", q, total)
            return (state + jnp.einsum("bhjd,bhje->bhde", k, v), total + k.sum(2)), out / norm[..., None]

        empty = (jnp.zeros((case.B, case.H, case.D, case.D)), jnp.zeros((case.B, case.H, case.D)))
        _, out = library.lax.scan(step, empty, (cut(q), cut(k), cut(v)))
        return jnp.moveaxis(out, 0, 2).reshape(case.B, case.H, case.N, case.D)

    return {"softmax": softmax, "linear": linear, "linear-causal": linear_causal}[case.kind]


# ONNX Runtime

def onnxruntime(case, inputs, threads):
    import onnxruntime as library
    from onnx import TensorProto, helper

    # Queries lie as B, N, H * D; keys and values as B, H, N, D, which is how the operator takes a cache.
    wide = [case.B, case.N, case.H * case.D]
    flat = lambda x: np.ascontiguousarray(x.transpose(0, 2, 1, 3).reshape(wide))
    attributes = {"num_heads": case.H, "unidirectional": int(case.family == "causal")}
    node = helper.make_node("MultiHeadAttention", ["q", "k", "v"], ["out"], domain="com.microsoft", **attributes)
    value = lambda name: helper.make_tensor_value_info(name, TensorProto.FLOAT, wide)
    graph = helper.make_graph([node], "attention", [value(n) for n in "qkv"], [value("out")])
    imports = [helper.make_opsetid("", 17), helper.make_opsetid("com.microsoft", 1)]
    model = helper.make_model(graph, opset_imports=imports, ir_version=8)
    options = library.SessionOptions()
    options.intra_op_num_threads, options.inter_op_num_threads = threads, 1
    session = library.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    feed = {name: flat(inputs[name]) for name in "qkv"}
    back = lambda out: out[0].reshape(case.B, case.N, case.H, case.D).transpose(0, 2, 1, 3)
    return lambda: session.run(None, feed), back, "MultiHeadAttention"


PEERS = {
    "attnc": attnc,
    "attnc-causal": attnc_causal,
    "torch": torch_sdpa,
    "torch-mask": torch_mask,
    "flex": flex,
    "torch-eager": torch_linear(False),
    "torch-compiled": torch_linear(True),
    "torch-eager-tuned": torch_linear(False),
    "torch-compiled-tuned": torch_linear(True),
    "jax": jax,
    "onnxruntime": onnxruntime,
    "numpy": numpy,
}
