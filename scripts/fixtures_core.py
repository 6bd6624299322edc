"""Generate core.safetensors: the basic elementwise ops, reductions and movements of PyTorch.

    python scripts/fixtures_core.py tests/fixtures

The layout is that of ops.safetensors, which `fixtures.py` documents.
"""

import argparse
import re
from pathlib import Path

import torch
from fixtures import OPS, Case, evaluated, normal, signed, uniform, values, write

ROWS = (Path(__file__).resolve().parents[1] / "tests/rows/elementwise.rs").read_text()


def unary_rows():
    """The ops of one operand that have cases here: op -> range of the inputs, from their rows in the tests' table."""
    number = r"(-?[0-9.]+)"
    # One row at a time: from `row("name", Mark,` to the next, wherever rustfmt breaks its lines.
    for row in re.split(r'\brow\("', ROWS)[1:]:
        name = row.split('"')[0]
        if bounds := re.search(rf"\.pytorch\({number}, {number}\)", row):
            yield name, (float(bounds[1]), float(bounds[2]))


UNARY = dict(unary_rows())

BINARY = {
    "add": torch.add,
    "sub": torch.sub,
    "mul": torch.mul,
    "div": torch.div,
    "minimum": torch.minimum,
    "maximum": torch.maximum,
}

COMPARISONS = {"eq": torch.eq, "ne": torch.ne, "lt": torch.lt, "le": torch.le, "gt": torch.gt, "ge": torch.ge}

LOGIC = {"logical_and": torch.logical_and, "logical_or": torch.logical_or, "logical_xor": torch.logical_xor}


def prod(x, dim, keepdim):
    for d in sorted(dim, reverse=True):
        x = x.prod(d, keepdim=keepdim)
    return x


OPS |= {
    **{op: getattr(torch, op) for op in UNARY},
    **{op: lambda a, b, f=f: f(a, b) for op, f in (BINARY | COMPARISONS | LOGIC).items()},
    "logical_not": lambda a: torch.logical_not(a),
    "is_nan": lambda x: torch.isnan(torch.log(x)),
    "is_finite": lambda x: torch.isfinite(torch.log(x)),
    "where": lambda c, a, b: torch.where(c.bool(), a, b),
    "clamp": lambda x, low, high: torch.clamp(x, low, high),
    "sum": lambda x, **over: torch.sum(x, **over),
    "mean": lambda x, **over: torch.mean(x, **over),
    "prod": prod,
    "max": lambda x, **over: torch.amax(x, **over),
    "min": lambda x, **over: torch.amin(x, **over),
    "var": lambda x, **over: torch.var(x, **over),
    "argmax": lambda x, **over: torch.argmax(x, **over),
    "argmin": lambda x, **over: torch.argmin(x, **over),
    "reshape": lambda x, shape: torch.reshape(x, shape),
    "flatten": lambda x, first, last: torch.flatten(x, first, last),
    "permute": lambda x, dims: torch.permute(x, dims),
    "transpose": lambda x, a, b: torch.transpose(x, a, b),
    "expand": lambda x, shape: x.expand(shape),
    "unsqueeze": lambda x, dim: torch.unsqueeze(x, dim),
    "squeeze": lambda x, dim: torch.squeeze(x, dim),
    "slice": lambda x, dim, start, stop, step: x[(slice(None),) * dim + (slice(start, stop, step),)],
    "cat": lambda a, b, dim: torch.cat([a, b, a], dim),
    "stack": lambda a, b, dim: torch.stack([a, b], dim),
}


def elementwise_cases():
    for op, (low, high) in UNARY.items():
        yield Case(op, "vector", dict(x=uniform(low, high, 7)))
        yield Case(op, "image", dict(x=uniform(low, high, 2, 3, 5)))
    for op in BINARY:
        positive = signed(0.3, 3.0, 4)
        yield Case(op, "plain", dict(a=normal(3, 5), b=signed(0.3, 3.0, 3, 5)))
        yield Case(op, "row", dict(a=normal(3, 4), b=positive))
        yield Case(op, "both", dict(a=normal(2, 1, 3), b=signed(0.3, 3.0, 4, 1)))
    tied = lambda *shape: lambda r: r.integers(-2, 3, shape) * 1.0
    for op in ("minimum", "maximum"):
        yield Case(op, "ties", dict(a=tied(4, 5), b=tied(4, 5)))
    for op in COMPARISONS:
        yield Case(op, "plain", dict(a=tied(4, 5), b=tied(4, 5)), constant=("a", "b"))
        yield Case(op, "column", dict(a=tied(4, 5), b=tied(4, 1)), constant=("a", "b"))
    bits = lambda *shape: lambda r: r.integers(0, 2, shape)
    for op in LOGIC:
        yield Case(op, "plain", dict(a=bits(4, 5), b=bits(4, 5)))
    yield Case("logical_not", "plain", dict(a=bits(4, 5)))
    for op in ("is_nan", "is_finite"):
        yield Case(op, "log", dict(x=values(-1.0, 0.0, 1.0, 2.0)), constant=("x",))
    yield Case("where", "plain", dict(c=bits(3, 4), a=normal(3, 4), b=normal(3, 4)))
    yield Case("where", "broadcast", dict(c=bits(3, 1), a=normal(4), b=normal(3, 4)))
    yield Case("clamp", "both", dict(x=normal(4, 5)), dict(low=-0.5, high=0.7))
    yield Case("clamp", "wide", dict(x=normal(9)), dict(low=-9.0, high=0.0))


def reduction_cases():
    table = [
        ("rows", (4, 6), (1,), False),
        ("columns", (5, 3), (0,), True),
        ("two", (3, 4, 5), (0, 2), False),
        ("all", (3, 7), (0, 1), False),
    ]
    for case, x, dim, keepdim in table:
        over = dict(dim=dim, keepdim=keepdim)
        for op in ("sum", "mean", "prod", "max", "min"):
            yield Case(op, case, dict(x=signed(0.5, 1.5, *x)), over)
        for correction in (0, 1):
            yield Case("var", f"{case}_{correction}", dict(x=normal(*x)), dict(correction=correction, **over))
        tied = lambda r, x=x: r.integers(0, 4, x) * 1.0
        for op in ("max", "min"):
            yield Case(op, f"{case}_ties", dict(x=tied), over)
        if len(dim) == 1:
            for op in ("argmax", "argmin"):
                yield Case(op, case, dict(x=normal(*x)), dict(dim=dim[0], keepdim=keepdim))
    yield Case("prod", "zeros", dict(x=values([1.0, 0.0, 2.0], [0.0, 3.0, 0.0], [2.0, 3.0, 4.0])), dict(dim=(1,), keepdim=False))


def movement_cases():
    table = [
        ("reshape", "wide", (3, 4), dict(shape=(2, 6))),
        ("reshape", "deep", (6, 2), dict(shape=(3, 1, 2, 2))),
        ("flatten", "tail", (2, 3, 4), dict(first=1, last=-1)),
        ("flatten", "all", (2, 3, 2), dict(first=0, last=-1)),
        ("permute", "cycle", (2, 3, 4), dict(dims=(1, 2, 0))),
        ("permute", "swap", (2, 3, 4, 5), dict(dims=(0, 3, 2, 1))),
        ("transpose", "last", (2, 3, 4), dict(a=-1, b=-2)),
        ("transpose", "outer", (2, 3, 4), dict(a=0, b=2)),
        ("expand", "rows", (1, 4), dict(shape=(3, 4))),
        ("expand", "both", (3, 1, 1), dict(shape=(3, 2, 4))),
        ("unsqueeze", "front", (3, 4), dict(dim=0)),
        ("unsqueeze", "back", (3, 4), dict(dim=-1)),
        ("squeeze", "middle", (3, 1, 4), dict(dim=1)),
        ("slice", "middle", (3, 9), dict(dim=1, start=2, stop=7, step=1)),
        ("slice", "strided", (9, 2), dict(dim=0, start=1, stop=9, step=3)),
        ("slice", "negative", (3, 9), dict(dim=1, start=-6, stop=-1, step=2)),
    ]
    for op, case, x, args in table:
        yield Case(op, case, dict(x=normal(*x)), args)
    for case, a, b, dim in [("rows", (2, 3), (4, 3), 0), ("columns", (3, 2), (3, 5), 1), ("middle", (2, 1, 3), (2, 4, 3), -2)]:
        yield Case("cat", case, dict(a=normal(*a), b=normal(*b)), dict(dim=dim))
    for case, dim in [("front", 0), ("middle", 1), ("back", -1)]:
        yield Case("stack", case, dict(a=normal(3, 4), b=normal(3, 4)), dict(dim=dim))


def main():
    parser = argparse.ArgumentParser(description="Generate the PyTorch fixtures of the basic ops.")
    parser.add_argument("directory", type=Path, help="where the file goes, e.g. tests/fixtures")
    directory = parser.parse_args().directory
    torch.set_num_threads(1)
    cases = [*elementwise_cases(), *reduction_cases(), *movement_cases()]
    write(directory / "core.safetensors", *evaluated(cases))


if __name__ == "__main__":
    main()
