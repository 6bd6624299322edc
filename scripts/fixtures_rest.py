"""Generate rest.safetensors: the ops of PyTorch that the other files leave out.

    python scripts/fixtures_rest.py tests/fixtures

The layout is that of ops.safetensors, which `fixtures.py` documents; truth
values are stored as int32.
"""

import argparse
from pathlib import Path

import torch
import torch.nn.functional as F
from fixtures import COMPUTE, OPS, Case, evaluated, indices, normal, uniform, values, write

DTYPES = {"i32": torch.int32, "u32": torch.int64, "bool": torch.bool, "f16": torch.float16, "u8": torch.uint8}


def pad_same(x, kernel, dilation):
    amounts = []
    for k, d in zip(reversed(kernel), reversed(dilation)):
        total = d * (k - 1)
        amounts += [total // 2, total - total // 2]
    return F.pad(x, amounts)


def normalize(x, dim, eps):
    mean = x.mean(dim, keepdim=True)
    return (x - mean) / torch.sqrt(((x - mean) ** 2).mean(dim, keepdim=True) + eps)


def pooled(kind):
    return lambda x: getattr(F, f"adaptive_{kind}_pool{x.dim() - 2}d")(x, 1)


def batch_norm_with(x, mean, variance, weight=None, bias=None, eps=1e-5):
    return F.batch_norm(x, mean, variance, weight, bias, training=False, eps=eps)


OPS |= {
    "cast": lambda x, dtype: x.to(DTYPES[dtype]),
    "narrow": lambda x, dim, start, length: x.narrow(dim, start, length),
    "select": lambda x, dim, index: x.select(dim, index),
    "unflatten": lambda x, dim, sizes: x.unflatten(dim, sizes),
    "detach": lambda x: x.detach() * x,
    "is_nan": lambda x: torch.isnan(torch.sqrt(x)),
    "is_finite": lambda x: torch.isfinite(1 / x),
    "logical_not": lambda a: torch.logical_not(a),
    **{op: lambda a, b, f=getattr(torch, op): f(a, b) for op in ("logical_and", "logical_or", "logical_xor")},
    "squeeze": lambda x, dim: torch.squeeze(x, dim),
    "t": lambda x: x.t(),
    "slice": lambda x, dim, start, stop: x[(slice(None),) * dim + (slice(start, stop),)],
    "pad": lambda x, pad: F.pad(x, pad),
    "pad_same": pad_same,
    "normalize": normalize,
    "gather_rows": lambda x, index: x[index.long()],
    "scatter_add_rows": lambda x, index, rows: torch.zeros(rows, x.shape[1], dtype=x.dtype).index_add(0, index, x),
    "masked_select": lambda x, mask: torch.masked_select(x, mask.bool()),
    "global_avg_pool": pooled("avg"),
    "global_max_pool": pooled("max"),
    "batch_norm_with": batch_norm_with,
    "zeros": lambda shape: torch.zeros(shape, dtype=COMPUTE),
    "ones": lambda shape: torch.ones(shape, dtype=COMPUTE),
    "full": lambda shape, value: torch.full(shape, value, dtype=COMPUTE),
    "full_of": lambda shape, value: torch.full(shape, value, dtype=torch.int32),
    "scalar": lambda value: torch.tensor(value, dtype=COMPUTE),
    "arange": lambda start, stop, step: torch.arange(start, stop, step, dtype=COMPUTE),
    "iota": lambda n: torch.arange(n, dtype=torch.int32),
    "eye": lambda n: torch.eye(n, dtype=COMPUTE),
    "zeros_like": lambda x: torch.zeros_like(x),
    "ones_like": lambda x: torch.ones_like(x),
    "full_like": lambda x, value: torch.full_like(x, value),
    "softplus_with": lambda x, beta, threshold: F.softplus(x, beta, threshold),
    "dropout": lambda x, p, training: F.dropout(x, p, training),
}
for d in (1, 3):
    for kind in ("avg", "max"):
        name = f"adaptive_{kind}_pool{d}d"
        OPS[name] = lambda x, size, f=getattr(F, name): f(x, size)


def logic_cases():
    bits = lambda *shape: indices(2, *shape)
    for op in ("logical_and", "logical_or", "logical_xor"):
        yield Case(op, "column", dict(a=bits(3, 4), b=bits(3, 1)))
    yield Case("logical_not", "deep", dict(a=bits(2, 3, 2)))
    yield Case("is_nan", "matrix", dict(x=normal(3, 4)), constant=("x",))
    yield Case("is_finite", "matrix", dict(x=values([1.0, 0.0, -2.0], [0.0, -0.0, 1e-3])), constant=("x",))
    numbers = values(-2.7, -1.0, -0.5, 0.0, 0.4, 0.5, 1.5, 2.9, 100.3)
    for dtype in ("i32", "bool", "f16"):
        yield Case("cast", dtype, dict(x=numbers), dict(dtype=dtype), constant=("x",))
    yield Case("cast", "u8", dict(x=values(0.0, 1.9, 254.5, 255.0)), dict(dtype="u8"), constant=("x",))
    yield Case("cast", "u32", dict(x=values(0.0, 1.9, 65536.5, 2e9)), dict(dtype="u32"), constant=("x",))
    yield Case("detach", "vector", dict(x=normal(7)))
    yield Case("detach", "matrix", dict(x=normal(3, 4)))
    for case, p, training in (("none", 0.0, True), ("all", 1.0, True)):
        yield Case("dropout", case, dict(x=normal(3, 4)), dict(p=p, training=training))


def movement_cases():
    yield Case("squeeze", "front", dict(x=normal(1, 3, 4)), dict(dim=0))
    yield Case("narrow", "middle", dict(x=normal(3, 7)), dict(dim=1, start=2, length=4))
    yield Case("narrow", "from_end", dict(x=normal(5, 2)), dict(dim=0, start=-3, length=2))
    yield Case("select", "first_axis", dict(x=normal(3, 4)), dict(dim=0, index=2))
    yield Case("select", "last_axis", dict(x=normal(2, 3, 5)), dict(dim=-1, index=-4))
    yield Case("unflatten", "heads", dict(x=normal(2, 12)), dict(dim=-1, sizes=(3, 4)))
    yield Case("unflatten", "front", dict(x=normal(6, 3)), dict(dim=0, sizes=(1, 2, 3)))
    yield Case("t", "wide", dict(x=normal(3, 5)))
    yield Case("t", "row", dict(x=normal(1, 4)))
    yield Case("slice", "plain", dict(x=normal(3, 9)), dict(dim=1, start=2, stop=7))
    yield Case("slice", "from_end", dict(x=normal(9, 2)), dict(dim=0, start=-4, stop=-1))
    yield Case("pad", "zero", dict(x=normal(2, 3, 4)), dict(pad=(1, 2, 0, 3)))
    yield Case("pad", "all", dict(x=normal(3, 4)), dict(pad=(2, 0, 1, 1)))
    yield Case("pad_same", "odd", dict(x=normal(1, 2, 5, 4)), dict(kernel=(3, 5), dilation=(1, 2)))
    yield Case("pad_same", "even", dict(x=normal(2, 3, 6)), dict(kernel=(4,), dilation=(3,)))
    yield Case("normalize", "last", dict(x=normal(3, 7, shift=2.0)), dict(dim=(1,), eps=1e-5))
    yield Case("normalize", "two", dict(x=normal(3, 4, 5)), dict(dim=(0, 2), eps=0.1))
    for case, x, index in (("plain", (5, 3), 4), ("repeated", (3, 4), 9)):
        yield Case("gather_rows", case, dict(x=normal(*x), index=indices(x[0], index)))
        yield Case("scatter_add_rows", case, dict(x=normal(index, x[1]), index=indices(x[0], index)), dict(rows=x[0]))
    yield Case("masked_select", "deep", dict(x=normal(2, 3, 4), mask=indices(2, 2, 3, 4)))


def pool_cases():
    for kind in ("avg", "max"):
        for case, size in (("divisible", 4), ("uneven", 5), ("larger", 11)):
            yield Case(f"adaptive_{kind}_pool1d", case, dict(x=normal(2, 3, 8)), dict(size=(size,)))
        for case, size in (("divisible", (2, 3, 1)), ("uneven", (3, 4, 3)), ("larger", (5, 3, 7))):
            yield Case(f"adaptive_{kind}_pool3d", case, dict(x=normal(1, 2, 4, 6, 5)), dict(size=size))
        for case, x in (("1d", (2, 3, 7)), ("2d", (2, 3, 4, 5)), ("3d", (1, 2, 3, 2, 4))):
            yield Case(f"global_{kind}_pool", case, dict(x=normal(*x)))
    statistics = dict(mean=normal(4), variance=uniform(0.5, 2.0, 4))
    affine = dict(weight=uniform(0.5, 1.5, 4), bias=normal(4))
    yield Case("batch_norm_with", "plain", dict(x=normal(5, 4), **statistics), {}, ("mean", "variance"))
    yield Case("batch_norm_with", "affine", dict(x=normal(2, 4, 3, 2), **statistics, **affine), dict(eps=0.1), ("mean", "variance"))
    for case, beta, threshold in (("default", 1.0, 20.0), ("other", 2.0, 1.0)):
        yield Case("softplus_with", case, dict(x=normal(3, 5, scale=3.0)), dict(beta=beta, threshold=threshold))


def creation_cases():
    for case, shape in (("matrix", (2, 3)), ("deep", (2, 1, 4, 3))):
        yield Case("zeros", case, {}, dict(shape=shape))
        yield Case("ones", case, {}, dict(shape=shape))
        yield Case("full", case, {}, dict(shape=shape, value=-2.5))
        yield Case("full_of", case, {}, dict(shape=shape, value=7))
        yield Case("zeros_like", case, dict(x=normal(*shape)), constant=("x",))
        yield Case("ones_like", case, dict(x=normal(*shape)), constant=("x",))
        yield Case("full_like", case, dict(x=normal(*shape)), dict(value=0.75), constant=("x",))
    for n, value in enumerate((1.25, -3.0)):
        yield Case("scalar", f"{n}", {}, dict(value=value))
    for case, start, stop, step in (("up", 0.0, 5.0, 1.0), ("down", 3.0, -2.0, -0.75), ("part", 0.5, 2.1, 0.5)):
        yield Case("arange", case, {}, dict(start=start, stop=stop, step=step))
    for n in (1, 5):
        yield Case("iota", f"{n}", {}, dict(n=n))
        yield Case("eye", f"{n}", {}, dict(n=n))


def main():
    parser = argparse.ArgumentParser(description="Generate the PyTorch fixtures of the remaining ops.")
    parser.add_argument("directory", type=Path, help="where the file goes, e.g. tests/fixtures")
    directory = parser.parse_args().directory
    torch.set_num_threads(1)
    cases = [*logic_cases(), *movement_cases(), *pool_cases(), *creation_cases()]
    tensors, metadata = evaluated(cases)
    for case in cases:
        metadata[f"{case.op}.{case.case}"] = dict(case.args, inputs=list(case.inputs))
    write(directory / "rest.safetensors", tensors, metadata)


if __name__ == "__main__":
    main()
