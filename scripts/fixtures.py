"""Generate the PyTorch reference fixtures that the tests compare against.

Run it from the repository root, in an environment that has `torch`, `numpy`
and `safetensors` (`pip install torch numpy safetensors`; a CPU build will do):

    python scripts/fixtures.py tests/fixtures

It writes one file a family. Every random value comes from a generator seeded
by the name of what it fills, so adding a case leaves the others as they were.
Inputs are float32; PyTorch computes on them in float64, and the results are
rounded to float32 on the way out. Labels are int32. The metadata of each file
holds the version of torch that made it under `torch`, and JSON objects under
the other keys.

optimizers.safetensors
    param.{i}                   initial parameters
    grad.{step}.{i}             gradients, step 1..=20, shared by all configs
    {config}.after1.{i}         parameters after step 1
    {config}.after20.{i}        parameters after step 20
    metadata {config}           {"optimizer": ..., every hyper-parameter}

ops.safetensors
    {op}.{case}.in.{name}       inputs
    {op}.{case}.out             result
    {op}.{case}.ct              cotangent of the result
    {op}.{case}.grad.{name}     gradients of sum(out * ct)
    {op}.{case}.after.{name}    state changed in place (batch_norm, in image.safetensors)
    metadata {op}.{case}        the arguments

image.safetensors, loss.safetensors
    as ops.safetensors, for normalisation, attention, convolutions over one
    and three axes, transposed ones, pooling and resampling, and for losses,
    indexing, products and einsum; the arguments list the inputs that there are

shape.safetensors
    as ops.safetensors, for activations, statistics, scans, arrangements and
    sorts; a case without a gradient has no cotangent

traces.safetensors
    {model}.init.{key}          initial weights, under their state dict names
    {model}.x.{step}            batches, step 0..10
    {model}.y.{step}            labels (int32)
    {model}.loss                loss of each step, before its update, [10]
    {model}.final.{key}         weights (and running statistics) after step 9
    metadata {model}            {"layers": ..., "loss": ..., "optimizer": ..., ...}
"""

import argparse
import json
import zlib
from collections import OrderedDict
from dataclasses import dataclass, field
from pathlib import Path
from typing import Callable

import numpy as np
import torch
import torch.nn.functional as F
from safetensors.torch import save_file
from torch import nn

# What PyTorch computes in. The files always hold float32.
COMPUTE = torch.float64


# ---------------------------------------------------------------- utilities


def rng(name):
    """A generator that depends on `name` alone."""
    return np.random.default_rng(zlib.crc32(name.encode()))


def from_numpy(array):
    """A float32 or int32 tensor holding `array`."""
    array = np.asarray(array)
    dtype = np.int32 if array.dtype.kind == "i" else np.float32
    return torch.from_numpy(array.astype(dtype))


def stored(tensor):
    """The form in which a tensor is written: float32 or int32, contiguous."""
    dtype = torch.float32 if tensor.is_floating_point() else torch.int32
    # `contiguous` may return the tensor itself, so the copy is explicit.
    return tensor.detach().to(dtype, copy=True).contiguous()


def computed(tensor):
    """A copy of a stored tensor, for PyTorch to compute on."""
    return tensor.to(COMPUTE, copy=True)


def write(path, tensors, metadata):
    for name, tensor in tensors.items():
        assert torch.isfinite(tensor).all(), f"{name} is not finite"
    metadata = {name: json.dumps(value) for name, value in metadata.items()}
    metadata["torch"] = torch.__version__.split("+")[0]
    save_file(tensors, path, metadata=metadata)
    canonicalize(path)
    print(f"{path}: {len(tensors)} tensors, {path.stat().st_size} bytes")


def canonicalize(path):
    """Sort the keys of the header, whose order otherwise varies by run."""
    raw = path.read_bytes()
    length = int.from_bytes(raw[:8], "little")
    header = json.loads(raw[8 : 8 + length])
    header = {
        "__metadata__": dict(sorted(header.pop("__metadata__").items())),
        **dict(sorted(header.items(), key=lambda kv: kv[1]["data_offsets"])),
    }
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    path.write_bytes(len(text).to_bytes(8, "little") + text + raw[8 + length :])


# --------------------------------------------------------------- optimizers

OPTIMIZER_SHAPES = [(7, 5), (5,), (33, 31)]
OPTIMIZER_STEPS = 20

# config -> (class, hyper-parameters that differ from PyTorch's defaults)
OPTIMIZERS = {
    "sgd": (torch.optim.SGD, dict(lr=0.05)),
    "sgd_momentum": (torch.optim.SGD, dict(lr=0.05, momentum=0.9)),
    "sgd_nesterov": (torch.optim.SGD, dict(lr=0.05, momentum=0.9, nesterov=True)),
    "sgd_l2": (torch.optim.SGD, dict(lr=0.05, momentum=0.9, weight_decay=0.01)),
    "sgd_dampening": (torch.optim.SGD, dict(lr=0.05, momentum=0.9, dampening=0.5)),
    "adam": (torch.optim.Adam, dict(lr=0.01)),
    "adam_l2": (torch.optim.Adam, dict(lr=0.01, weight_decay=0.1)),
    "adam_amsgrad": (torch.optim.Adam, dict(lr=0.01, amsgrad=True)),
    "adamw": (torch.optim.AdamW, dict(lr=0.01, weight_decay=0.1)),
    "rmsprop": (torch.optim.RMSprop, dict(lr=0.01)),
    "rmsprop_centered": (torch.optim.RMSprop, dict(lr=0.01, centered=True)),
    "rmsprop_momentum": (torch.optim.RMSprop, dict(lr=0.01, momentum=0.9)),
    "rmsprop_centered_momentum_l2": (
        torch.optim.RMSprop,
        dict(lr=0.01, centered=True, momentum=0.9, weight_decay=0.1),
    ),
    "adagrad": (torch.optim.Adagrad, dict(lr=0.05)),
    "adagrad_decay": (
        torch.optim.Adagrad,
        dict(lr=0.05, lr_decay=0.1, weight_decay=0.1, initial_accumulator_value=0.1),
    ),
    "nadam": (torch.optim.NAdam, dict()),
    "radam": (torch.optim.RAdam, dict(lr=0.01)),
    "adamax": (torch.optim.Adamax, dict()),
    "adadelta": (torch.optim.Adadelta, dict()),
}

# Defaults that choose an implementation and do not change the update rule.
NOT_HYPER_PARAMETERS = {"foreach", "capturable", "differentiable", "fused", "maximize"}


def hyper_parameters(optimizer):
    """The name of an optimizer and all its hyper-parameters, defaults included."""
    options = {k: v for k, v in optimizer.defaults.items() if k not in NOT_HYPER_PARAMETERS}
    return {"optimizer": type(optimizer).__name__, **options}


def optimizers():
    start = [
        from_numpy(rng(f"param.{i}").standard_normal(shape))
        for i, shape in enumerate(OPTIMIZER_SHAPES)
    ]
    tensors = {f"param.{i}": tensor for i, tensor in enumerate(start)}
    for step in range(1, OPTIMIZER_STEPS + 1):
        # The scale varies from step to step, so that second moments fall as
        # well as rise and AMSGrad's maximum makes a difference.
        scale = 1.0 if step % 5 in (1, 2) else 0.05
        for i, shape in enumerate(OPTIMIZER_SHAPES):
            name = f"grad.{step}.{i}"
            tensors[name] = from_numpy(scale * rng(name).standard_normal(shape))

    metadata = {}
    for config, (optimizer_class, options) in OPTIMIZERS.items():
        params = [nn.Parameter(computed(tensor)) for tensor in start]
        optimizer = optimizer_class(params, **options)
        for step in range(1, OPTIMIZER_STEPS + 1):
            for i, param in enumerate(params):
                param.grad = computed(tensors[f"grad.{step}.{i}"])
            optimizer.step()
            if step in (1, OPTIMIZER_STEPS):
                for i, param in enumerate(params):
                    tensors[f"{config}.after{step}.{i}"] = stored(param)
        metadata[config] = hyper_parameters(optimizer)
    return tensors, metadata


# ---------------------------------------------------------------- operators


def normal(*shape, scale=1.0, shift=0.0):
    return lambda r: shift + scale * r.standard_normal(shape)


def uniform(low, high, *shape):
    return lambda r: r.uniform(low, high, shape)


def labels(classes, *shape):
    return lambda r: r.integers(0, classes, shape)


def values(*numbers):
    return lambda r: np.array(numbers)


def signed(low, high, *shape):
    """Magnitudes from `low` to `high`, of either sign."""
    return lambda r: r.uniform(low, high, shape) * r.choice([-1.0, 1.0], shape)


@dataclass
class Case:
    """One call of an operator.

    `inputs` maps names to functions from a generator to an array, `args` are
    the other arguments, as the metadata records them. Floating point inputs
    get gradients, except those listed in `constant`.
    """

    op: str
    case: str
    inputs: dict
    args: dict = field(default_factory=dict)
    constant: tuple = ()


def batch_norm(x, weight, bias, running_mean, running_var, **args):
    after = {"running_mean": running_mean.clone(), "running_var": running_var.clone()}
    out = F.batch_norm(x, weight=weight, bias=bias, **after, **args)
    return out, after if args["training"] else {}


def sigmoid_focal(x, target, alpha, gamma, reduction):
    """torchvision's `sigmoid_focal_loss`."""
    entropy = F.binary_cross_entropy_with_logits(x, target, reduction="none")
    p = torch.sigmoid(x)
    loss = entropy * (1 - p * target - (1 - p) * (1 - target)) ** gamma
    if alpha >= 0:
        loss = (alpha * target + (1 - alpha) * (1 - target)) * loss
    return {"none": loss, "mean": loss.mean(), "sum": loss.sum()}[reduction]


# op -> function of the inputs and the arguments, by name. It returns the
# result, or the result and a dict of the state that changed.
OPS: dict[str, Callable] = {
    "conv2d": lambda x, weight, bias, **args: F.conv2d(x, weight, bias, **args),
    "max_pool2d": lambda x, **args: F.max_pool2d(x, **args),
    "avg_pool2d": lambda x, **args: F.avg_pool2d(x, **args),
    "batch_norm": batch_norm,
    "layer_norm": lambda x, weight=None, bias=None, **args: F.layer_norm(
        x, weight=weight, bias=bias, **args
    ),
    "cross_entropy": lambda logits, labels, **args: F.cross_entropy(
        logits, labels.long(), **args
    ),
    "log_softmax": lambda x, dim: F.log_softmax(x, dim),
    "softmax": lambda x, dim: F.softmax(x, dim),
    "matmul": lambda a, b: a @ b,
    "gelu": lambda x, approximate: F.gelu(x, approximate=approximate),
    "sigmoid": lambda x: torch.sigmoid(x),
    "tanh": lambda x: torch.tanh(x),
    "relu": lambda x: torch.relu(x),
    "elu": lambda x, alpha: F.elu(x, alpha),
    "silu": lambda x: F.silu(x),
    "softplus": lambda x, beta, threshold: F.softplus(x, beta, threshold),
    "erf": lambda x: torch.erf(x),
    "hardswish": lambda x: F.hardswish(x),
    "mish": lambda x: F.mish(x),
    "expm1": lambda x: torch.expm1(x),
    "log1p": lambda x: torch.log1p(x),
    "atan2": lambda y, x: torch.atan2(y, x),
    "pow": lambda x, exponent: torch.pow(x, exponent),
    "remainder": lambda x, divisor: torch.remainder(x, divisor),
    "relu6": lambda x: F.relu6(x),
    "leaky_relu": lambda x, **args: F.leaky_relu(x, **args),
    "selu": lambda x: F.selu(x),
    "hardsigmoid": lambda x: F.hardsigmoid(x),
    "softsign": lambda x: F.softsign(x),
    "logsigmoid": lambda x: F.logsigmoid(x),
    "hardtanh": lambda x, **args: F.hardtanh(x, **args),
    "lerp": lambda x, end, weight: torch.lerp(x, end.expand_as(x), weight),
    "masked_fill": lambda x, mask, value: x.masked_fill(mask.bool(), value),
    "std": lambda x, **args: torch.std(x, **args),
    "logsumexp": lambda x, **args: torch.logsumexp(x, **args),
    "norm": lambda x, p, **args: torch.linalg.vector_norm(x, float(p), **args),
    "any": lambda x, dim, keepdim: (x != 0).any(dim, keepdim=keepdim),
    "all": lambda x, dim, keepdim: (x != 0).all(dim, keepdim=keepdim),
    "count_nonzero": lambda x, dim, keepdim: (x != 0).sum(dim, keepdim=keepdim),
    "cumsum": lambda x, dim: torch.cumsum(x, dim),
    "cumprod": lambda x, dim: torch.cumprod(x, dim),
    "repeat": lambda x, counts: x.repeat(counts),
    "roll": lambda x, shift, dim: torch.roll(x, shift, dim),
    "tril": lambda x, diagonal: torch.tril(x, diagonal),
    "triu": lambda x, diagonal: torch.triu(x, diagonal),
    "diag": lambda x, diagonal: torch.diag(x, diagonal),
    "pad": lambda x, **args: F.pad(x, **args),
    "flip": lambda x, dims: torch.flip(x, dims),
    "chunk": lambda x, n, dim, index: torch.chunk(x, n, dim)[index],
    "split": lambda x, sizes, dim, index: torch.split(x, sizes, dim)[index],
    "sort": lambda x, **args: torch.sort(x, stable=True, **args).values,
    "argsort": lambda x, **args: torch.argsort(x, stable=True, **args),
    "topk": lambda x, k, dim: torch.topk(x, k, dim).values,
    "cross_entropy_with": lambda logits, target, weight=None, **args: F.cross_entropy(
        logits, target if target.is_floating_point() else target.long(), weight=weight, **args
    ),
    "nll": lambda x, labels, weight=None, **args: F.nll_loss(
        F.log_softmax(x, 1), labels.long(), weight=weight, **args
    ),
    "binary_cross_entropy": lambda x, target, **args: F.binary_cross_entropy(x, target, **args),
    "binary_cross_entropy_with_logits": lambda x, target, pos_weight=None, **args: (
        F.binary_cross_entropy_with_logits(x, target, pos_weight=pos_weight, **args)
    ),
    "mse": lambda x, target, **args: F.mse_loss(x, target, **args),
    "l1": lambda x, target, **args: F.l1_loss(x, target, **args),
    "huber": lambda x, target, **args: F.huber_loss(x, target, **args),
    "smooth_l1": lambda x, target, **args: F.smooth_l1_loss(x, target, **args),
    "kl_div": lambda x, target, **args: F.kl_div(x, target, **args),
    "hinge": lambda x, target: (1 - target * x).clamp(min=0).mean(),
    "hinge_embedding": lambda x, target, **args: F.hinge_embedding_loss(x, target, **args),
    "margin_ranking": lambda a, b, target, **args: F.margin_ranking_loss(a, b, target, **args),
    "triplet_margin": lambda a, p, n, norm, **args: F.triplet_margin_loss(a, p, n, p=norm, **args),
    "cosine_embedding": lambda a, b, target, **args: F.cosine_embedding_loss(a, b, target, **args),
    "cosine_similarity": lambda a, b, **args: F.cosine_similarity(a, b, **args),
    "focal": lambda x, target, **args: sigmoid_focal(x, target, **args),
    "ctc": lambda x, labels, **args: F.ctc_loss(F.log_softmax(x, 2), labels.long(), **args),
    "gather": lambda x, index, dim: torch.gather(x, dim, index.long()),
    "scatter": lambda x, index, src, dim: torch.scatter(x, dim, index.long(), src),
    "scatter_add": lambda x, index, src, dim: torch.scatter_add(x, dim, index.long(), src),
    "index_select": lambda x, index, dim: torch.index_select(x, dim, index),
    "index_add": lambda x, index, src, dim: torch.index_add(x, dim, index, src),
    "one_hot": lambda x, classes: F.one_hot(x.long(), classes),
    "embedding": lambda x, index, padding_idx=None: F.embedding(index, x, padding_idx),
    "masked_select": lambda x, mask: torch.masked_select(x, mask.bool()),
    "bmm": lambda a, b: torch.bmm(a, b),
    "dot": lambda a, b: torch.dot(a, b),
    "outer": lambda a, b: torch.outer(a, b),
    "linear": lambda x, weight, bias=None: F.linear(x, weight, bias),
    "einsum": lambda spec, **operands: torch.einsum(spec, *operands.values()),
}


def conv_cases():
    # case, x, weight, stride, padding, dilation, groups
    table = [
        ("plain", (2, 3, 6, 6), (4, 3, 3, 3), (1, 1), (0, 0), (1, 1), 1),
        ("pointwise", (2, 5, 3, 4), (3, 5, 1, 1), (1, 1), (0, 0), (1, 1), 1),
        ("pad1", (1, 2, 5, 7), (3, 2, 3, 3), (1, 1), (1, 1), (1, 1), 1),
        ("pad2_k5", (1, 2, 5, 6), (3, 2, 5, 5), (1, 1), (2, 2), (1, 1), 1),
        ("stride2", (2, 2, 7, 6), (3, 2, 3, 3), (2, 2), (0, 0), (1, 1), 1),
        ("stride2_pad1", (2, 3, 7, 9), (2, 3, 3, 3), (2, 2), (1, 1), (1, 1), 1),
        ("stride2_k1", (1, 3, 6, 5), (4, 3, 1, 1), (2, 2), (0, 0), (1, 1), 1),
        ("dilation2", (1, 2, 7, 8), (3, 2, 3, 3), (1, 1), (0, 0), (2, 2), 1),
        ("dilation2_pad2_stride2", (1, 2, 9, 7), (2, 2, 3, 3), (2, 2), (2, 2), (2, 2), 1),
        ("groups2", (2, 4, 5, 5), (6, 2, 3, 3), (1, 1), (1, 1), (1, 1), 2),
        ("depthwise", (2, 4, 5, 6), (4, 1, 3, 3), (1, 1), (1, 1), (1, 1), 4),
        ("depthwise_multiplier_stride2", (1, 4, 7, 7), (8, 1, 3, 3), (2, 2), (1, 1), (1, 1), 4),
        ("asymmetric", (1, 2, 6, 9), (3, 2, 2, 3), (1, 2), (0, 1), (2, 1), 1),
        ("even_kernel", (1, 2, 5, 6), (2, 2, 4, 2), (2, 1), (1, 0), (1, 1), 1),
    ]
    for case, x, weight, stride, padding, dilation, groups in table:
        yield Case(
            "conv2d",
            case,
            dict(x=normal(*x), weight=normal(*weight, scale=0.5), bias=normal(weight[0])),
            dict(stride=stride, padding=padding, dilation=dilation, groups=groups),
        )


def pool_cases():
    # case, x, kernel_size, stride, padding
    table = [
        ("k2s2", (2, 3, 6, 8), (2, 2), (2, 2), (0, 0)),
        ("k2s2_odd", (1, 2, 7, 5), (2, 2), (2, 2), (0, 0)),
        ("k3s2p1", (2, 2, 7, 8), (3, 3), (2, 2), (1, 1)),
        ("k3s1", (1, 3, 6, 5), (3, 3), (1, 1), (0, 0)),
        ("k3s1p1", (1, 2, 5, 4), (3, 3), (1, 1), (1, 1)),
        ("asymmetric", (1, 2, 6, 7), (2, 3), (1, 2), (0, 1)),
    ]
    for case, x, kernel_size, stride, padding in table:
        args = dict(kernel_size=kernel_size, stride=stride, padding=padding)
        yield Case("max_pool2d", case, dict(x=normal(*x)), args)
        yield Case("avg_pool2d", case, dict(x=normal(*x)), dict(args, count_include_pad=True))
        if padding != (0, 0):
            yield Case(
                "avg_pool2d",
                f"{case}_exclude_pad",
                dict(x=normal(*x)),
                dict(args, count_include_pad=False),
            )


def norm_cases():
    for training in (True, False):
        mode = "train" if training else "eval"
        for case, shape in [(mode, (3, 4, 5, 3)), (f"{mode}_2d", (6, 5))]:
            channels = shape[1]
            yield Case(
                "batch_norm",
                case,
                dict(
                    x=normal(*shape, scale=1.5, shift=0.7),
                    weight=uniform(0.5, 1.5, channels),
                    bias=normal(channels, scale=0.5),
                    running_mean=normal(channels, scale=0.5),
                    running_var=uniform(0.5, 2.0, channels),
                ),
                dict(training=training, momentum=0.1, eps=1e-5),
                constant=("running_mean", "running_var"),
            )

    # case, x, normalized_shape, affine
    table = [
        ("last", (4, 3, 10), (10,), True),
        ("last_two", (3, 4, 5), (4, 5), True),
        ("no_affine", (6, 9), (9,), False),
    ]
    for case, x, shape, affine in table:
        inputs = dict(x=normal(*x, scale=2.0, shift=-0.5))
        if affine:
            inputs |= dict(weight=uniform(0.5, 1.5, *shape), bias=normal(*shape, scale=0.5))
        yield Case("layer_norm", case, inputs, dict(normalized_shape=shape, eps=1e-5))


def softmax_cases():
    # case, x, dim
    table = [
        ("last", normal(5, 7), -1),
        ("middle", normal(2, 5, 3), 1),
        ("first", normal(6, 4), 0),
        ("large", normal(4, 6, scale=40.0, shift=100.0), -1),
    ]
    for case, x, dim in table:
        yield Case("softmax", case, dict(x=x), dict(dim=dim))
        yield Case("log_softmax", case, dict(x=x), dict(dim=dim))

    # case, logits, classes, batch
    for case, logits, classes, batch in [
        ("mean", normal(8, 5), 5, 8),
        ("large", normal(6, 10, scale=40.0, shift=100.0), 10, 6),
        ("single", normal(1, 3), 3, 1),
    ]:
        yield Case(
            "cross_entropy",
            case,
            dict(logits=logits, labels=labels(classes, batch)),
            dict(reduction="mean"),
        )


def matmul_cases():
    # case, a, b
    table = [
        ("plain", (5, 7), (7, 3)),
        ("batched", (3, 4, 5), (3, 5, 2)),
        ("broadcast_left", (4, 5), (3, 5, 2)),
        ("broadcast_right", (3, 4, 5), (5, 2)),
        ("broadcast_both", (2, 1, 3, 4), (3, 4, 5)),
        ("broadcast_cross", (2, 1, 3, 4), (1, 3, 4, 2)),
        ("row_column", (2, 1, 6), (2, 6, 1)),
    ]
    for case, a, b in table:
        yield Case("matmul", case, dict(a=normal(*a), b=normal(*b)))


def elementwise_cases():
    # Points where a careless formula overflows, cancels or underflows. The
    # kinks of hardswish, at -3 and 3, are left out.
    wide = (
        -100.0, -50.0, -21.0, -10.0, -5.0, -2.5, -1.0, -0.1, -1e-3, -1e-6,
        0.0, 1e-6, 1e-3, 0.1, 1.0, 2.5, 5.0, 10.0, 21.0, 50.0, 100.0,
    )  # fmt: skip
    below = lambda limit: [v for v in wide if v < limit]
    above = lambda limit: [v for v in wide if v > limit]

    # op, suffix of the case, arguments, points of the wide case
    table = [
        ("gelu", "erf", dict(approximate="none"), wide),
        ("gelu", "tanh", dict(approximate="tanh"), wide),
        ("sigmoid", "", {}, wide),
        ("tanh", "", {}, wide),
        ("relu", "", {}, wide),
        ("elu", "", dict(alpha=1.0), wide),
        ("elu", "alpha", dict(alpha=0.3), wide),
        ("silu", "", {}, wide),
        ("softplus", "", dict(beta=1.0, threshold=20.0), wide),
        ("softplus", "beta", dict(beta=2.0, threshold=20.0), wide),
        ("erf", "", {}, wide),
        ("hardswish", "", {}, wide),
        ("mish", "", {}, wide),
        ("expm1", "", {}, below(22.0)),
        ("log1p", "", {}, above(-1.0)),
    ]
    for op, suffix, args, points in table:
        x = uniform(-0.9, 6.0, 3, 11) if op == "log1p" else normal(3, 11, scale=2.0)
        name = lambda kind: f"{kind}_{suffix}" if suffix else kind
        yield Case(op, name("random"), dict(x=x), args)
        yield Case(op, name("wide"), dict(x=values(*points)), args)

    yield Case("atan2", "random", dict(y=normal(4, 9), x=normal(4, 9)))
    yield Case("atan2", "broadcast", dict(y=normal(3, 1, 5), x=normal(4, 1)))
    yield Case(
        "atan2",
        "axes",
        dict(
            y=values(0.0, 1.0, 0.0, -1.0, 1.0, 1.0, -1.0, -1.0),
            x=values(1.0, 0.0, -1.0, 0.0, 1.0, -1.0, 1.0, -1.0),
        ),
    )

    yield Case("pow", "random", dict(x=uniform(0.1, 3.0, 4, 7), exponent=normal(4, 7)))
    yield Case("pow", "broadcast", dict(x=uniform(0.1, 3.0, 3, 1, 4), exponent=normal(5, 1)))
    # A negative base has a gradient, but none with respect to the exponent.
    for exponent in (2.0, 3.0, -1.0):
        yield Case(
            "pow",
            f"negative_base_{exponent:g}".replace("-", "minus_"),
            dict(x=signed(0.3, 2.0, 3, 5)),
            dict(exponent=exponent),
        )
    yield Case("pow", "half", dict(x=uniform(0.1, 3.0, 3, 5)), dict(exponent=0.5))

    # The result has the sign of the divisor. Whole divisors and dividends
    # between quarters keep quotients away from the jumps.
    off_grid = lambda *shape: lambda r: r.integers(-40, 40, shape) / 4 + r.uniform(0.05, 0.2, shape)
    whole = lambda *shape: lambda r: r.integers(1, 5, shape) * r.choice([-1.0, 1.0], shape)
    yield Case("remainder", "random", dict(x=off_grid(4, 7), divisor=whole(4, 7)))
    yield Case("remainder", "broadcast", dict(x=off_grid(3, 1, 4), divisor=whole(5, 1)))
    yield Case("remainder", "scalar", dict(x=off_grid(3, 5)), dict(divisor=2.5))
    yield Case("remainder", "scalar_negative", dict(x=off_grid(3, 5)), dict(divisor=-1.5))


def activation_cases():
    # op, suffix of the case, arguments. The inputs avoid the kinks.
    table = [
        ("relu6", "", {}),
        ("leaky_relu", "", dict(negative_slope=0.01)),
        ("leaky_relu", "slope", dict(negative_slope=0.3)),
        ("selu", "", {}),
        ("hardsigmoid", "", {}),
        ("softsign", "", {}),
        ("logsigmoid", "", {}),
        ("hardtanh", "", dict(min_val=-1.0, max_val=1.0)),
        ("hardtanh", "bounds", dict(min_val=-0.25, max_val=2.5)),
        ("softplus", "threshold", dict(beta=0.5, threshold=1.0)),
    ]
    points = (-60.0, -21.0, -10.0, -2.5, -0.1, -1e-3, 1e-3, 0.1, 2.25, 5.0, 10.0, 21.0, 60.0)
    for op, suffix, args in table:
        name = lambda kind: f"{kind}_{suffix}" if suffix else kind
        yield Case(op, name("random"), dict(x=normal(3, 7, scale=2.0)), args)
        yield Case(op, name("wide"), dict(x=values(*points)), args)
    for weight in (0.0, 0.25, 0.75, 1.0):
        yield Case("lerp", f"{weight:g}", dict(x=normal(4, 5), end=normal(5)), dict(weight=weight))
    for case, mask in [("full", (3, 5)), ("row", (5,)), ("column", (3, 1))]:
        mask = lambda r, mask=mask: r.integers(0, 2, mask)
        yield Case("masked_fill", case, dict(x=normal(3, 5), mask=mask), dict(value=-2.5))


def statistic_cases():
    # case, x, dim, keepdim
    table = [
        ("rows", (4, 6), (1,), False),
        ("columns", (5, 3), (0,), True),
        ("two", (3, 4, 5), (0, 2), False),
        ("all", (3, 7), (0, 1), False),
    ]
    for case, x, dim, keepdim in table:
        over = dict(dim=dim, keepdim=keepdim)
        for correction in (0, 1, 2):
            yield Case("std", f"{case}_{correction}", dict(x=normal(*x)), dict(correction=correction, **over))
        yield Case("logsumexp", case, dict(x=normal(*x, scale=30.0, shift=80.0)), over)
        for p in (0.0, 0.5, 1.0, 2.0, 3.5, float("inf")):
            yield Case("norm", f"{case}_{p:g}", dict(x=normal(*x)), dict(p=str(p), **over))
        # Kinks: half of the elements are 0, and a whole row is.
        for p in (1.0, 2.0, 3.0, float("inf")):
            sparse = lambda r, x=x: r.integers(-1, 2, x) * np.arange(x[0]).reshape(-1, *[1] * (len(x) - 1)) * 1.0
            yield Case("norm", f"{case}_sparse_{p:g}", dict(x=sparse), dict(p=str(p), **over))
        few = lambda r, x=x: r.integers(0, 2, x) * 0.5
        for op in ("any", "all", "count_nonzero"):
            yield Case(op, case, dict(x=few), over, constant=("x",))
    yield Case("std", "constant", dict(x=values([1.0, 1.0, 1.0], [1.0, 2.0, 3.0])), dict(correction=1, dim=(1,), keepdim=False))

    for case, x, dim in [("vector", (9,), 0), ("rows", (3, 8), 1), ("columns", (8, 3), 0), ("middle", (2, 5, 3), -2), ("long", (2, 150), 1)]:
        yield Case("cumsum", case, dict(x=normal(*x)), dict(dim=dim))
        yield Case("cumprod", case, dict(x=signed(0.7, 1.4, *x)), dict(dim=dim))
    yield Case("cumprod", "zeros", dict(x=values([1.0, 0.0, 2.0, 3.0], [0.0, 2.0, 0.0, 5.0])), dict(dim=1))


def arrange_cases():
    # op, case, x, arguments
    table = [
        ("repeat", "plain", (2, 3), dict(counts=(2, 3))),
        ("repeat", "in_front", (2, 3), dict(counts=(3, 1, 2))),
        ("roll", "plain", (3, 7), dict(shift=3, dim=1)),
        ("roll", "back", (5, 2), dict(shift=-12, dim=0)),
        ("tril", "plain", (4, 6), dict(diagonal=0)),
        ("tril", "above", (2, 4, 3), dict(diagonal=1)),
        ("triu", "plain", (5, 4), dict(diagonal=0)),
        ("triu", "below", (2, 4, 4), dict(diagonal=-2)),
        ("diag", "vector", (4,), dict(diagonal=0)),
        ("diag", "vector_above", (3,), dict(diagonal=2)),
        ("diag", "vector_below", (3,), dict(diagonal=-1)),
        ("diag", "matrix", (4, 6), dict(diagonal=0)),
        ("diag", "matrix_above", (4, 6), dict(diagonal=3)),
        ("diag", "matrix_below", (5, 3), dict(diagonal=-2)),
        ("pad", "constant", (1, 2, 3, 4), dict(pad=(1, 2, 0, 3), mode="constant", value=0.5)),
        ("pad", "reflect", (1, 2, 3, 4), dict(pad=(1, 3, 2, 0), mode="reflect")),
        ("pad", "replicate", (1, 2, 3, 4), dict(pad=(1, 5, 2, 0), mode="replicate")),
        ("flip", "one", (3, 4), dict(dims=(1,))),
        ("flip", "two", (2, 3, 4), dict(dims=(0, 2))),
        ("chunk", "last", (7, 2), dict(n=3, dim=0, index=2)),
        ("chunk", "first", (2, 8), dict(n=3, dim=1, index=0)),
        ("split", "middle", (2, 9), dict(sizes=(2, 3, 4), dim=1, index=1)),
        ("split", "last", (5, 2), dict(sizes=(1, 4), dim=0, index=1)),
        ("sort", "rows", (4, 9), dict(dim=1, descending=False)),
        ("sort", "columns", (9, 3), dict(dim=0, descending=True)),
        ("sort", "middle", (2, 6, 3), dict(dim=1, descending=False)),
        ("topk", "rows", (4, 9), dict(k=3, dim=1)),
        ("topk", "columns", (6, 2), dict(k=6, dim=0)),
        ("argsort", "rows", (4, 9), dict(dim=1, descending=False)),
        ("argsort", "columns", (9, 4), dict(dim=0, descending=True)),
    ]
    for op, case, x, args in table:
        yield Case(op, case, dict(x=normal(*x)), args)
    tied = lambda r: r.integers(0, 4, (3, 12)) * 1.0
    for descending in (False, True):
        name = "ties_down" if descending else "ties"
        yield Case("argsort", name, dict(x=tied), dict(dim=1, descending=descending))


def attention(q, k, v, mask=None, **args):
    mask = mask.bool() if mask is not None and not mask.is_floating_point() else mask
    return F.scaled_dot_product_attention(q, k, v, attn_mask=mask, **args)


def multihead_attention(x, heads, **state):
    """Self-attention with weights under the names of the state dict, `_` for `.`."""
    module = nn.MultiheadAttention(x.shape[-1], heads, batch_first=True).to(COMPUTE)
    state = {key.replace("out_proj_", "out_proj."): value for key, value in state.items()}
    return torch.func.functional_call(module, state, (x, x, x), dict(need_weights=False))[0]


def interpolate(x, size, mode, **args):
    if mode == "linear":
        mode = ("linear", "bilinear", "trilinear")[len(size) - 1]
    return F.interpolate(x, size=size, mode=mode, **args)


OPS |= {
    "group_norm": lambda x, **args: F.group_norm(x, **args),
    "instance_norm": lambda x, **args: F.instance_norm(x, **args),
    "rms_norm": lambda x, **args: F.rms_norm(x, **args),
    "attention": attention,
    "multihead_attention": multihead_attention,
    "interpolate": interpolate,
    "grid_sample": lambda x, grid, **args: F.grid_sample(x, grid, **args),
    "affine_grid": lambda x, **args: F.affine_grid(x, **args),
    "unfold": lambda x, **args: F.unfold(x, **args),
    "fold": lambda x, **args: F.fold(x, **args),
    "adaptive_avg_pool2d": lambda x, **args: F.adaptive_avg_pool2d(x, **args),
    "adaptive_max_pool2d": lambda x, **args: F.adaptive_max_pool2d(x, **args),
}
for name in ("conv1d", "conv3d", "conv_transpose1d", "conv_transpose2d", "conv_transpose3d"):
    OPS[name] = lambda x, weight, bias, f=getattr(F, name), **args: f(x, weight, bias, **args)
for name in ("max_pool1d", "avg_pool1d", "max_pool3d", "avg_pool3d"):
    OPS[name] = lambda x, f=getattr(F, name), **args: f(x, **args)


def image_norm_cases():
    weights = lambda c: dict(weight=uniform(0.5, 1.5, c), bias=normal(c, scale=0.5))
    x = normal(2, 4, 3, 5, scale=1.5, shift=0.7)
    yield Case("group_norm", "affine", dict(x=x, **weights(4)), dict(num_groups=2))
    yield Case("group_norm", "plain", dict(x=normal(3, 6)), dict(num_groups=3, eps=0.1))
    yield Case("instance_norm", "affine", dict(x=x, **weights(4)), dict(eps=1e-5))
    yield Case("instance_norm", "plain", dict(x=normal(2, 3, 7)), dict(eps=0.1))
    yield Case("rms_norm", "plain", dict(x=x), dict(normalized_shape=(3, 5), eps=0.1))
    yield Case("rms_norm", "scale", dict(x=x, weight=normal(5)), dict(normalized_shape=(5,), eps=1e-6))


def attention_cases():
    qkv = lambda *lead: dict(q=normal(*lead, 6, 4), k=normal(*lead, 5, 4), v=normal(*lead, 5, 3))
    hidden = lambda r: np.concatenate([r.integers(0, 2, (5, 5)), np.zeros((1, 5), int)])
    yield Case("attention", "plain", qkv(2, 3))
    yield Case("attention", "causal", qkv(2), dict(is_causal=True))
    yield Case("attention", "scale", qkv(2), dict(scale=1.5))
    yield Case("attention", "hidden", dict(**qkv(2), mask=hidden))
    yield Case("attention", "added", dict(**qkv(2), mask=normal(6, 5)))
    state = dict(
        in_proj_weight=normal(24, 8, scale=0.4),
        in_proj_bias=normal(24),
        out_proj_weight=normal(8, 8, scale=0.4),
        out_proj_bias=normal(8),
    )
    yield Case("multihead_attention", "self", dict(x=normal(2, 5, 8), **state), dict(heads=2))


def conv_nd_cases():
    # op, case, x, weight, output channels, arguments
    table = [
        ("conv1d", "plain", (2, 3, 9), (4, 3, 3), 4, {}),
        ("conv1d", "all", (2, 4, 9), (4, 2, 3), 4, dict(stride=2, padding=3, dilation=2, groups=2)),
        ("conv1d", "same", (1, 2, 6), (3, 2, 4), 3, dict(padding="same", dilation=3)),
        ("conv3d", "plain", (1, 2, 4, 4, 5), (3, 2, 2, 3, 3), 3, {}),
        (
            "conv3d",
            "all",
            (2, 4, 5, 4, 5),
            (4, 2, 3, 2, 3),
            4,
            dict(stride=(2, 1, 2), padding=(1, 0, 1), dilation=(1, 2, 1), groups=2),
        ),
        ("conv_transpose1d", "plain", (2, 3, 5), (3, 4, 3), 4, {}),
        (
            "conv_transpose1d",
            "all",
            (2, 4, 5),
            (4, 3, 3),
            6,
            dict(stride=3, padding=2, output_padding=2, dilation=2, groups=2),
        ),
        ("conv_transpose2d", "plain", (2, 3, 4, 5), (3, 2, 3, 2), 2, {}),
        (
            "conv_transpose2d",
            "all",
            (1, 4, 4, 3),
            (4, 1, 3, 3),
            2,
            dict(stride=(2, 3), padding=(1, 2), output_padding=(1, 2), dilation=(2, 1), groups=2),
        ),
        (
            "conv_transpose2d",
            "wide",
            (1, 2, 3, 3),
            (2, 2, 2, 2),
            2,
            dict(padding=(1, 0), output_padding=(2, 1), dilation=(3, 2)),
        ),
        ("conv_transpose3d", "plain", (1, 2, 3, 3, 2), (2, 3, 2, 2, 3), 3, {}),
        (
            "conv_transpose3d",
            "all",
            (1, 2, 3, 3, 2),
            (2, 1, 3, 2, 3),
            2,
            dict(stride=(2, 2, 1), padding=(1, 0, 1), output_padding=(1, 1, 0), groups=2),
        ),
    ]
    for op, case, x, weight, channels, args in table:
        inputs = dict(x=normal(*x), weight=normal(*weight, scale=0.5), bias=normal(channels))
        yield Case(op, case, inputs, args)


def pool_nd_cases():
    for axes, x in [(1, (2, 3, 9)), (3, (1, 2, 5, 6, 5))]:
        args = dict(kernel_size=3, stride=2, padding=1)
        yield Case(f"max_pool{axes}d", "plain", dict(x=normal(*x)), dict(kernel_size=2))
        yield Case(f"max_pool{axes}d", "all", dict(x=normal(*x)), dict(args, dilation=2))
        yield Case(f"max_pool{axes}d", "ties", dict(x=lambda r, x=x: r.integers(0, 2, x) * 1.0), args)
        yield Case(f"avg_pool{axes}d", "plain", dict(x=normal(*x)), dict(kernel_size=2))
        yield Case(f"avg_pool{axes}d", "all", dict(x=normal(*x)), args)
        yield Case(f"avg_pool{axes}d", "exclude", dict(x=normal(*x)), dict(args, count_include_pad=False))
    for op in ("adaptive_avg_pool2d", "adaptive_max_pool2d"):
        for case, x, size in [
            ("divisible", (2, 3, 6, 8), (3, 2)),
            ("uneven", (1, 2, 7, 10), (3, 4)),
            ("larger", (1, 2, 3, 4), (5, 6)),
        ]:
            yield Case(op, case, dict(x=normal(*x)), dict(output_size=size))


def resampling_cases():
    args = dict(kernel_size=(2, 3), stride=(2, 1), padding=(1, 2), dilation=(1, 2))
    yield Case("unfold", "plain", dict(x=normal(2, 3, 4, 5)), dict(kernel_size=(2, 2)))
    yield Case("unfold", "all", dict(x=normal(1, 2, 5, 6)), args)
    yield Case("fold", "plain", dict(x=normal(2, 12, 12)), dict(output_size=(4, 5), kernel_size=(2, 2)))
    yield Case("fold", "all", dict(x=normal(1, 12, 18)), dict(args, output_size=(5, 6)))
    # x, size
    table = [
        ((2, 2, 5), (8,)),
        ((1, 2, 4, 6), (8, 3)),
        ((1, 2, 5, 7), (3, 11)),
        ((1, 1, 3, 2, 4), (4, 5, 2)),
    ]
    for x, size in table:
        name = f"{len(size)}d_{size[-1]}"
        yield Case("interpolate", f"{name}_nearest", dict(x=normal(*x)), dict(size=size, mode="nearest"))
        for align in (False, True):
            args = dict(size=size, mode="linear", align_corners=align)
            yield Case("interpolate", f"{name}_linear_{align}", dict(x=normal(*x)), args)
    for align in (False, True):
        inputs = dict(x=normal(2, 3, 5, 4), grid=uniform(-1.3, 1.3, 2, 4, 3, 2))
        yield Case("grid_sample", f"{align}", inputs, dict(align_corners=align))
        yield Case("affine_grid", f"{align}", dict(x=normal(2, 2, 3)), dict(size=(2, 3, 4, 5), align_corners=align))


def image():
    cases = [
        *norm_cases(),
        *image_norm_cases(),
        *attention_cases(),
        *conv_nd_cases(),
        *pool_nd_cases(),
        *resampling_cases(),
    ]
    return with_inputs(cases)


def with_inputs(cases):
    """As `evaluated`. Inputs are optional here, so a reader has to know which there are."""
    tensors, metadata = evaluated(cases)
    for case in cases:
        metadata[f"{case.op}.{case.case}"] = dict(case.args, inputs=list(case.inputs))
    return tensors, metadata


def class_loss_cases():
    # case, logits, labels, weight, arguments
    weight = uniform(0.5, 2.0, 5)
    table = [
        ("default", (6, 5), (6,), None, {}),
        ("weight", (6, 5), (6,), weight, {}),
        ("weight_sum", (6, 5), (6,), weight, dict(reduction="sum")),
        ("ignore", (8, 5), (8,), None, dict(ignore_index=2)),
        ("weight_ignore", (8, 5), (8,), weight, dict(ignore_index=3)),
        ("none", (4, 5), (4,), weight, dict(reduction="none", ignore_index=1)),
        ("image", (2, 5, 3, 4), (2, 3, 4), weight, dict(ignore_index=0)),
    ]
    for case, logits, shape, weight, args in table:
        inputs = dict(target=indices(5, *shape))
        constant = dict(weight=weight) if weight else {}
        x = normal(*logits, scale=2.0)
        yield Case("nll", case, dict(x=x, labels=inputs["target"], **constant), args, ("weight",))
        for smoothing in (0.0, 0.2):
            yield Case(
                "cross_entropy_with",
                f"{case}_smoothing_{smoothing:g}",
                dict(logits=x, **inputs, **constant),
                dict(args, label_smoothing=smoothing),
                ("weight",),
            )
    soft = lambda *shape: lambda r: r.dirichlet([1.0] * 5, shape)
    probabilities = {"soft": ((6, 5), soft(6)), "soft_image": ((2, 5, 3), None)}
    for case, (logits, target) in probabilities.items():
        target = target or (
            lambda r: np.ascontiguousarray(np.moveaxis(r.dirichlet([1.0] * 5, (2, 3)), 2, 1))
        )
        inputs = dict(logits=normal(*logits, scale=2.0), target=target)
        yield Case("cross_entropy_with", case, inputs, {})
        args = dict(label_smoothing=0.3, reduction="sum")
        inputs = inputs | dict(weight=uniform(0.5, 2.0, 5))
        yield Case("cross_entropy_with", f"{case}_weight", inputs, args, ("weight",))


def indices(limit, *shape):
    return lambda r: r.integers(0, limit, shape)


def binary_loss_cases():
    bits = lambda *shape: lambda r: r.integers(0, 2, shape) * 1.0
    signs = lambda *shape: lambda r: r.choice([-1.0, 1.0], shape)
    ends = dict(x=values(0.0, 0.0, 1.0, 1.0, 0.5), target=values(0.0, 1.0, 0.0, 1.0, 0.25))
    for reduction in ("mean", "sum", "none"):
        args = dict(reduction=reduction)
        for op in ("mse", "l1"):
            inputs = dict(x=normal(3, 5), target=normal(3, 5))
            yield Case(op, reduction, inputs, args)
        inputs = dict(x=uniform(0.01, 0.99, 3, 5), target=uniform(0.0, 1.0, 3, 5))
        yield Case("binary_cross_entropy", reduction, inputs, args, ("target",))
        yield Case("binary_cross_entropy", f"ends_{reduction}", ends, args, ("target",))
        for case, scale in (("small", 2.0), ("large", 60.0)):
            inputs = dict(x=normal(3, 5, scale=scale), target=bits(3, 5))
            op, constant = "binary_cross_entropy_with_logits", ("target", "pos_weight")
            yield Case(op, f"{case}_{reduction}", inputs, args, constant)
            weights = dict(pos_weight=uniform(0.5, 3.0, 5))
            yield Case(op, f"{case}_weight_{reduction}", inputs | weights, args, constant)
            # A gamma below 1 has no finite gradient there where a target is certain.
            fraction = 0.5 if case == "small" else 1.5
            for alpha, gamma in ((0.25, 2.0), (-1.0, fraction), (0.6, 0.0)):
                focal = dict(args, alpha=alpha, gamma=gamma)
                yield Case("focal", f"{case}_{alpha}_{gamma}_{reduction}", inputs, focal, ("target",))
    for number in (1.0, 0.3, 2.5):
        inputs = dict(x=normal(4, 6, scale=2.0), target=normal(4, 6))
        yield Case("huber", f"{number}", inputs, dict(delta=number, reduction="mean"))
        yield Case("smooth_l1", f"{number}", inputs, dict(beta=number, reduction="none"))
    yield Case("smooth_l1", "zero", inputs, dict(beta=0.0, reduction="sum"))
    for log_target in (False, True):
        target = normal(4, 5) if log_target else lambda r: r.dirichlet([1.0] * 5, 4)
        for reduction in ("mean", "sum", "none"):
            args = dict(log_target=log_target, reduction=reduction)
            inputs = dict(x=normal(4, 5, shift=-2.0), target=target)
            yield Case("kl_div", f"{log_target}_{reduction}", inputs, args)
    yield Case("kl_div", "zero", dict(x=normal(3), target=values(0.0, 1.0, 0.0)), args, ("target",))
    yield Case("hinge", "mean", dict(x=normal(4, 5), target=signs(4, 5)), {}, ("target",))
    yield Case("hinge", "wide", dict(x=normal(9, scale=5.0), target=signs(9)), {}, ("target",))
    for margin, reduction in ((1.0, "mean"), (0.3, "none")):
        args = dict(margin=margin, reduction=reduction)
        inputs = dict(x=uniform(0.0, 2.0, 4, 5), target=signs(4, 5))
        yield Case("hinge_embedding", reduction, inputs, args, ("target",))
        args = dict(margin=margin - 0.3, reduction=reduction)
        inputs = dict(a=normal(7), b=normal(7), target=signs(7))
        yield Case("margin_ranking", reduction, inputs, args, ("target",))
        inputs = dict(a=normal(5, 4), b=normal(5, 4), target=signs(5))
        yield Case("cosine_embedding", reduction, inputs, args, ("target",))
    for case, norm, args in [
        ("default", 2.0, {}),
        ("swap", 2.0, dict(swap=True, margin=0.5, reduction="none")),
        ("l1", 1.0, dict(margin=2.0, reduction="sum")),
        ("l3", 3.0, dict(eps=1e-3)),
    ]:
        inputs = dict(a=normal(5, 4), p=normal(5, 4), n=normal(5, 4))
        yield Case("triplet_margin", case, inputs, dict(norm=norm, **args))
    yield Case("cosine_similarity", "rows", dict(a=normal(3, 4), b=normal(3, 4)), dict(dim=1))
    inputs = dict(a=normal(3, 4, 2), b=normal(4, 2))
    yield Case("cosine_similarity", "broadcast", inputs, dict(dim=1, eps=0.1))


def ctc_cases():
    # case, x, longest, input lengths, target lengths, arguments
    table = [
        ("default", (8, 3, 5), 3, (8, 8, 8), (3, 3, 3), {}),
        ("lengths", (9, 4, 4), 4, (9, 7, 8, 5), (4, 2, 0, 1), dict(reduction="none")),
        ("blank", (7, 2, 4), 3, (7, 6), (2, 3), dict(reduction="sum", blank=0)),
        ("zero_infinity", (4, 2, 4), 4, (4, 3), (2, 4), dict(reduction="mean", zero_infinity=True)),
    ]
    for case, x, longest, times, counts, args in table:
        labels = lambda r, x=x, longest=longest: r.integers(1, x[2], (x[1], longest))
        args = dict(args, input_lengths=times, target_lengths=counts)
        yield Case("ctc", case, dict(x=normal(*x), labels=labels), args)
    labels = lambda r: r.integers(0, 3, (2, 3))
    args = dict(input_lengths=(8, 8), target_lengths=(3, 2), blank=3)
    yield Case("ctc", "last_blank", dict(x=normal(8, 2, 4), labels=labels), args)


def index_cases():
    # case, x, index, limit, dim
    table = [
        ("rows", (4, 5), (4, 3), 5, 1),
        ("columns", (4, 5), (6, 5), 4, 0),
        ("middle", (2, 5, 3), (2, 4, 3), 5, 1),
        ("part", (4, 5, 3), (2, 7, 2), 5, 1),
    ]
    for case, x, index, limit, dim in table:
        inputs = dict(x=normal(*x), index=indices(limit, *index))
        yield Case("gather", case, inputs, dict(dim=dim))
        yield Case("scatter_add", case, inputs | dict(src=normal(*index)), dict(dim=dim))
        if index[dim] <= x[dim]:
            # Places that differ: PyTorch does not say which of several elements it takes.
            def places(r, x=x, index=index, dim=dim):
                whole = np.argsort(r.random([max(a, b) for a, b in zip(x, index)]), axis=dim)
                return whole[tuple(slice(0, n) for n in index)]

            inputs = inputs | dict(index=places, src=normal(*index))
            yield Case("scatter", case, inputs, dict(dim=dim))
    for case, x, count, dim in [("rows", (5, 3), 7, 0), ("last", (2, 3, 4), 3, 2), ("one", (4,), 6, 0)]:
        src = list(x)
        src[dim] = count
        inputs = dict(x=normal(*x), index=indices(x[dim], count))
        yield Case("index_select", case, inputs, dict(dim=dim))
        yield Case("index_add", case, inputs | dict(src=normal(*src)), dict(dim=dim))
    yield Case("one_hot", "vector", dict(x=indices(4, 6)), dict(classes=5))
    yield Case("one_hot", "matrix", dict(x=indices(3, 2, 4)), dict(classes=3))
    for padding in (None, 2):
        args = {} if padding is None else dict(padding_idx=padding)
        inputs = dict(x=normal(5, 3), index=indices(5, 4, 3))
        yield Case("embedding", f"padding_{padding}", inputs, args)
    inputs = dict(x=normal(4, 6), mask=indices(2, 4, 6))
    yield Case("masked_select", "some", inputs)


def algebra_cases():
    yield Case("bmm", "plain", dict(a=normal(3, 4, 5), b=normal(3, 5, 2)))
    yield Case("bmm", "one", dict(a=normal(1, 2, 7), b=normal(1, 7, 3)))
    yield Case("dot", "plain", dict(a=normal(9), b=normal(9)))
    yield Case("dot", "one", dict(a=normal(1), b=normal(1)))
    yield Case("outer", "plain", dict(a=normal(4), b=normal(3)))
    yield Case("outer", "one", dict(a=normal(1), b=normal(5)))
    yield Case("linear", "plain", dict(x=normal(6, 5), weight=normal(4, 5), bias=normal(4)))
    yield Case("linear", "no_bias", dict(x=normal(2, 3, 5), weight=normal(4, 5)))
    yield Case("linear", "vector", dict(x=normal(5), weight=normal(4, 5), bias=normal(4)))
    table = [
        ("matmul", "ij,jk->ik", (3, 4), (4, 5)),
        ("implicit", "ij,jk", (3, 4), (4, 5)),
        ("implicit_order", "ba", (3, 4)),
        ("batch", "bij,bkj->bik", (2, 3, 4), (2, 5, 4)),
        ("hadamard", "ij,ij->ij", (3, 4), (3, 4)),
        ("outer", "i,j->ij", (3,), (4,)),
        ("inner", "i,i->", (5,), (5,)),
        ("diagonal", "ii->i", (4, 4)),
        ("trace", "bii->b", (2, 3, 3)),
        ("diagonal_of_one", "iji,j->i", (3, 2, 3), (2,)),
        ("sum", "ijk->j", (2, 3, 4)),
        ("lone", "ij,kl->il", (2, 3), (4, 5)),
        ("ellipsis", "...ij,...jk->...ik", (2, 1, 3, 4), (5, 4, 2)),
        ("ellipsis_implicit", "...i,i...", (3, 4), (4, 3)),
        ("ellipsis_summed", "...i,i->i", (2, 3, 4), (4,)),
        ("chain", "ij,jk,kl,lm->im", (2, 6), (6, 3), (3, 5), (5, 2)),
        ("bilinear", "bi,oij,bj->bo", (3, 4), (2, 4, 5), (3, 5)),
        ("attention", "bhqd,bhkd->bhqk", (2, 2, 3, 4), (2, 2, 5, 4)),
        ("transposed", "abc,cd->dba", (2, 3, 4), (4, 2)),
        ("stretched", "ij,jk->ik", (3, 1), (4, 5)),
        ("three", "i,i,i->i", (4,), (4,), (4,)),
    ]
    for case, spec, *shapes in table:
        yield Case("einsum", case, dict(zip("abcd", map(lambda s: normal(*s), shapes))), dict(spec=spec))


def loss():
    return with_inputs(
        [
            *class_loss_cases(),
            *binary_loss_cases(),
            *ctc_cases(),
            *index_cases(),
            *algebra_cases(),
        ]
    )


def ops():
    return evaluated(
        [
            *conv_cases(),
            *pool_cases(),
            *softmax_cases(),
            *matmul_cases(),
            *elementwise_cases(),
        ]
    )


def shape():
    return evaluated([*activation_cases(), *statistic_cases(), *arrange_cases()])


def evaluated(cases):
    """The tensors and the metadata of these cases; one without a gradient has no cotangent."""
    tensors, metadata = {}, {}
    for case in cases:
        name = f"{case.op}.{case.case}"
        assert name not in metadata, f"two cases are called {name}"
        metadata[name] = case.args

        inputs = {}
        for key, make in case.inputs.items():
            full = f"{name}.in.{key}"
            tensors[full] = from_numpy(make(rng(full)))
            floating = tensors[full].is_floating_point()
            inputs[key] = computed(tensors[full]) if floating else tensors[full]
            if floating and key not in case.constant:
                inputs[key].requires_grad_()

        out = OPS[case.op](**inputs, **case.args)
        out, after = out if isinstance(out, tuple) else (out, {})
        tensors[f"{name}.out"] = stored(out)
        if out.requires_grad:
            ct = from_numpy(rng(f"{name}.ct").standard_normal(out.shape))
            out.backward(computed(ct))
            tensors[f"{name}.ct"] = ct
        for key, tensor in inputs.items():
            if tensor.grad is not None:
                tensors[f"{name}.grad.{key}"] = stored(tensor.grad)
        for key, tensor in after.items():
            tensors[f"{name}.after.{key}"] = stored(tensor)
    return tensors, metadata


# ------------------------------------------------------------------- traces

TRACE_STEPS = 10


@dataclass
class Trace:
    """A model, in the order of its layers, and how it is trained."""

    layers: OrderedDict
    optimizer: type
    options: dict
    input: tuple
    batch: int
    classes: int


class Last(nn.Module):
    """The last step of a recurrent layer's outputs."""

    def forward(self, out):
        return out[0][:, -1]


class Mean(nn.Module):
    def forward(self, x):
        return x.mean(1)


def traces_table():
    return {
        "mlp": Trace(
            OrderedDict(fc1=nn.Linear(20, 16), relu1=nn.ReLU(), fc2=nn.Linear(16, 5)),
            torch.optim.Adam,
            dict(lr=0.01),
            input=(20,),
            batch=8,
            classes=5,
        ),
        "cnn": Trace(
            OrderedDict(
                conv1=nn.Conv2d(1, 4, 3, padding=1),
                bn1=nn.BatchNorm2d(4),
                relu1=nn.ReLU(),
                pool1=nn.MaxPool2d(2),
                conv2=nn.Conv2d(4, 6, 3, padding=1),
                bn2=nn.BatchNorm2d(6),
                relu2=nn.ReLU(),
                flatten=nn.Flatten(),
                fc=nn.Linear(6 * 4 * 4, 5),
            ),
            torch.optim.SGD,
            dict(lr=0.05, momentum=0.9),
            input=(1, 8, 8),
            batch=6,
            classes=5,
        ),
        "lstm": Trace(
            OrderedDict(
                lstm=nn.LSTM(5, 8, num_layers=2, batch_first=True),
                last=Last(),
                fc=nn.Linear(8, 4),
            ),
            torch.optim.Adam,
            dict(lr=0.02),
            input=(6, 5),
            batch=8,
            classes=4,
        ),
        "transformer": Trace(
            OrderedDict(
                embed=nn.Linear(5, 8),
                encoder=nn.TransformerEncoder(
                    nn.TransformerEncoderLayer(8, 2, 16, 0.0, batch_first=True, norm_first=True),
                    2,
                    nn.LayerNorm(8),
                    enable_nested_tensor=False,
                ),
                mean=Mean(),
                fc=nn.Linear(8, 4),
            ),
            torch.optim.SGD,
            dict(lr=0.1, momentum=0.9),
            input=(6, 5),
            batch=8,
            classes=4,
        ),
    }


def weights(model):
    """The state dict as it is stored, without the batch counters."""
    return {
        key: stored(tensor)
        for key, tensor in model.state_dict().items()
        if not key.endswith("num_batches_tracked")
    }


def batch(name, trace, step):
    """Noise about a centre that depends on the class, so that losses fall."""
    centres = rng(f"{name}.centres").standard_normal((trace.classes, *trace.input))
    y = rng(f"{name}.y.{step}").integers(0, trace.classes, trace.batch)
    noise = rng(f"{name}.x.{step}").standard_normal((trace.batch, *trace.input))
    return from_numpy(centres[y] + noise), from_numpy(y)


def traces():
    torch.manual_seed(0)
    tensors, metadata = {}, {}
    for name, trace in traces_table().items():
        model = nn.Sequential(trace.layers)
        tensors |= {f"{name}.init.{key}": t for key, t in weights(model).items()}
        model = model.to(COMPUTE).train()
        optimizer = trace.optimizer(model.parameters(), **trace.options)

        losses = []
        for step in range(TRACE_STEPS):
            x, y = batch(name, trace, step)
            tensors[f"{name}.x.{step}"], tensors[f"{name}.y.{step}"] = x, y
            optimizer.zero_grad()
            loss = F.cross_entropy(model(computed(x)), y.long())
            loss.backward()
            optimizer.step()
            losses.append(loss.detach())

        tensors[f"{name}.loss"] = stored(torch.stack(losses))
        tensors |= {f"{name}.final.{key}": t for key, t in weights(model).items()}
        metadata[name] = {
            "layers": {key: str(layer) for key, layer in trace.layers.items()},
            "loss": "cross_entropy, mean",
            **hyper_parameters(optimizer),
        }
    return tensors, metadata


FILES = {"image": image, "loss": loss, "optimizers": optimizers, "ops": ops, "shape": shape, "traces": traces}


def main():
    parser = argparse.ArgumentParser(description="Generate the PyTorch reference fixtures.")
    parser.add_argument("directory", type=Path, help="where the files go, e.g. tests/fixtures")
    directory = parser.parse_args().directory

    torch.set_num_threads(1)
    directory.mkdir(parents=True, exist_ok=True)
    for name, generate in FILES.items():
        write(directory / f"{name}.safetensors", *generate())


if __name__ == "__main__":
    main()
