"""Generate layers_more.safetensors: layers of PyTorch at default and other arguments, those of layers.safetensors aside.

    python scripts/fixtures_layers.py tests/fixtures

Layout, weights and inputs are those of layers.safetensors, which
`fixtures_models.py` documents: weights and inputs come from its formula.
Encodings of positions are not in PyTorch; they are written out here in its
ops, rotary ones as products of complex numbers.
"""

import sys
from pathlib import Path

import torch
from fixtures import canonicalize
from fixtures_models import fill, integers, values
from safetensors.torch import save_file
from torch import nn
from torch.nn import functional as F

torch.set_num_threads(1)

SEQUENCE, ROWS = (5, 3, 4), (2, 4, 9)
IMAGE, VOLUME = (2, 4, 6, 5), (1, 4, 4, 5, 4)


class Sinusoidal(nn.Module):
    def forward(self, x):
        length, d = x.shape[-2:]
        position = torch.arange(length, dtype=x.dtype).unsqueeze(1)
        rate = torch.exp(torch.arange(0, d, 2, dtype=x.dtype) * (-torch.log(torch.tensor(10000.0, dtype=x.dtype)) / d))
        table = torch.zeros(length, d, dtype=x.dtype)
        table[:, 0::2], table[:, 1::2] = torch.sin(position * rate), torch.cos(position * rate)
        return x + table


class Rotary(nn.Module):
    def __init__(self, base, interleaved, offset):
        super().__init__()
        self.base, self.interleaved, self.offset = base, interleaved, offset

    def forward(self, x):
        length, d = x.shape[-2:]
        rate = self.base ** (-torch.arange(0, d, 2, dtype=x.dtype) / d)
        angle = torch.outer(torch.arange(length, dtype=x.dtype) + self.offset, rate)
        turn = torch.polar(torch.ones_like(angle), angle)
        if self.interleaved:
            pairs = torch.view_as_complex(x.reshape(*x.shape[:-1], d // 2, 2))
            return torch.view_as_real(pairs * turn).reshape(x.shape)
        pairs = torch.complex(*x.chunk(2, -1)) * turn
        return torch.cat([pairs.real, pairs.imag], -1)


class Call(nn.Module):
    """A function of the input."""

    def __init__(self, f):
        super().__init__()
        self.f = f

    def forward(self, x):
        return self.f(x)


def joined(out):
    """Output and last states in one row."""
    y, h = out
    return torch.cat([t.reshape(-1) for t in (y, *(h if isinstance(h, tuple) else (h,)))])


def convolutions():
    shapes = {1: ROWS, 2: IMAGE, 3: VOLUME}
    for d, x in shapes.items():
        one = lambda *n: n[0] if d == 1 else n[:d]
        kernel = one(3, 2, 2)
        yield f"Conv{d}d", getattr(nn, f"Conv{d}d")(4, 3, kernel), x
        other = dict(stride=one(2, 1, 2), padding=one(1, 2, 0), dilation=one(2, 1, 1), groups=2, bias=False)
        yield f"Conv{d}d.other", getattr(nn, f"Conv{d}d")(4, 6, kernel, **other), x
        yield f"ConvTranspose{d}d", getattr(nn, f"ConvTranspose{d}d")(4, 3, kernel), x
        other |= dict(output_padding=one(1, 0, 1))
        yield f"ConvTranspose{d}d.other", getattr(nn, f"ConvTranspose{d}d")(4, 6, kernel, **other), x
        for kind in ("Max", "Avg"):
            pool = getattr(nn, f"{kind}Pool{d}d")
            yield f"{kind}Pool{d}d", pool(2), x
            more = dict(dilation=2) if kind == "Max" else dict(count_include_pad=False)
            yield f"{kind}Pool{d}d.other", pool(3, stride=2, padding=1, **more), x
            adaptive = getattr(nn, f"Adaptive{kind}Pool{d}d")
            yield f"Adaptive{kind}Pool{d}d.other", adaptive(one(3, 4, 2)), x
            yield f"Adaptive{kind}Pool{d}d", adaptive(one(2, 2, 2)), x
            yield f"Global{kind}Pool.{d}d", adaptive(1), x


def norms():
    yield "LayerNorm", nn.LayerNorm(4), SEQUENCE
    yield "LayerNorm.plain", nn.LayerNorm((3, 4), eps=0.1, elementwise_affine=False), SEQUENCE
    yield "LayerNorm.scale", nn.LayerNorm((3, 4), bias=False), SEQUENCE
    yield "RMSNorm", nn.RMSNorm(4), SEQUENCE
    yield "RMSNorm.plain", nn.RMSNorm((3, 4), eps=0.1, elementwise_affine=False), SEQUENCE
    yield "GroupNorm", nn.GroupNorm(2, 4), IMAGE
    yield "GroupNorm.plain", nn.GroupNorm(4, 4, eps=0.1, affine=False), ROWS


def sequences():
    second = values("second", (5, 3, 2))
    memory = values("memory", (5, 2, 4))
    yield "Linear", nn.Linear(4, 3), SEQUENCE
    yield "Linear.plain", nn.Linear(4, 3, bias=False), SEQUENCE
    yield "Bilinear.two", nn.Bilinear(4, 2, 3), SEQUENCE, lambda m, x: m(x, second)
    yield "Bilinear.plain", nn.Bilinear(4, 4, 3, bias=False), SEQUENCE, lambda m, x: m(x, x)
    attend = lambda q, k, **more: lambda m, x: m(x if q is None else q, x if k is None else k, x if k is None else k, need_weights=False, **more)[0]
    yield "MultiheadAttention", nn.MultiheadAttention(4, 2, batch_first=True), SEQUENCE, attend(None, None)
    yield "MultiheadAttention.plain", nn.MultiheadAttention(4, 1, bias=False, batch_first=True), SEQUENCE, attend(None, None)
    yield "MultiheadAttention.cross", nn.MultiheadAttention(4, 2, batch_first=True), SEQUENCE, attend(None, memory)
    causal = nn.Transformer.generate_square_subsequent_mask(3, dtype=torch.float64)
    yield "MultiheadAttention.causal", nn.MultiheadAttention(4, 2, batch_first=True), SEQUENCE, attend(None, None, attn_mask=causal)
    eval_dropout = nn.MultiheadAttention(4, 2, dropout=0.5, batch_first=True).eval()
    yield "MultiheadAttention.eval", eval_dropout, SEQUENCE, attend(None, None)
    for kind in ("RNN", "LSTM", "GRU"):
        make = getattr(nn, kind)
        yield f"{kind}.batch_first", make(4, 2, batch_first=True), SEQUENCE, lambda m, x: joined(m(x))
        yield f"{kind}.plain", make(4, 2, bias=False, bidirectional=True), SEQUENCE, lambda m, x: joined(m(x))
        yield f"{kind}.eval", make(4, 2, num_layers=3, dropout=0.5).eval(), SEQUENCE, lambda m, x: joined(m(x))
        h, c = values("hidden", (2, 3, 2)), values("cell", (2, 3, 2))
        first = (h, c) if kind == "LSTM" else h
        yield f"{kind}.states", make(4, 2, num_layers=2), SEQUENCE, lambda m, x, first=first: joined(m(x, first))
    for name, more in (("silu", dict(activation=F.silu)), ("tanh", dict(activation=lambda x: F.gelu(x, approximate="tanh")))):
        yield f"encoder.{name}", nn.TransformerEncoderLayer(4, 2, 6, 0.0, batch_first=True, norm_first=True, **more), SEQUENCE
    plain = dict(layer_norm_eps=0.1, bias=False, batch_first=True)
    yield "encoder.plain", nn.TransformerEncoderLayer(4, 2, 6, 0.0, **plain), SEQUENCE
    yield "encoder.eval", nn.TransformerEncoderLayer(4, 2, 6, 0.5, batch_first=True).eval(), SEQUENCE
    yield "decoder.plain", nn.TransformerDecoderLayer(4, 2, 6, 0.0, **plain), SEQUENCE, lambda m, x: m(x, memory)
    stack = nn.TransformerDecoder(nn.TransformerDecoderLayer(4, 2, 6, 0.0, batch_first=True), 2, nn.LayerNorm(4))
    hidden = torch.tensor([[False, True], [False, False], [True, False]])
    yield "decoder.stack", stack, SEQUENCE, lambda m, x: m(x, memory, tgt_mask=causal, memory_mask=hidden)
    bare = nn.TransformerDecoder(nn.TransformerDecoderLayer(4, 2, 6, 0.0, batch_first=True), 1)
    yield "decoder.bare", bare, SEQUENCE, lambda m, x: m(x, memory)
    bare = nn.TransformerEncoder(nn.TransformerEncoderLayer(4, 2, 6, 0.0, batch_first=True), 1, enable_nested_tensor=False)
    yield "encoder.bare", bare, SEQUENCE
    yield "SinusoidalEncoding", Sinusoidal(), SEQUENCE
    yield "SinusoidalEncoding.image", Sinusoidal(), (2, 3, 4, 6)
    yield "RotaryEncoding", Rotary(10000.0, False, 0), SEQUENCE
    yield "RotaryEncoding.interleaved", Rotary(100.0, True, 3), (2, 3, 4, 6)
    yield "Embedding", nn.Embedding(7, 3), ((4, 5), 7)
    yield "Embedding.padding", nn.Embedding(7, 3, padding_idx=2), ((4, 5), 7)
    yield "Residual", nn.Linear(4, 4), SEQUENCE, lambda m, x: x + m(x)
    shortcut = nn.ModuleDict(dict(body=nn.Linear(4, 3), shortcut=nn.Linear(4, 3, bias=False)))
    yield "Residual.shortcut", shortcut, SEQUENCE, lambda m, x: m["body"](x) + m["shortcut"](x)
    yield "Sequential", nn.Sequential(nn.Linear(4, 3), nn.Tanh(), nn.Linear(3, 2)), SEQUENCE


def stateless():
    yield "Identity", nn.Identity(), IMAGE
    yield "PReLU.one", nn.PReLU(), IMAGE
    yield "Threshold.zero", nn.Threshold(0.0, 0.0), IMAGE
    yield "GLU.last", nn.GLU(), SEQUENCE
    yield "Flatten", nn.Flatten(), IMAGE
    yield "Unflatten", nn.Unflatten(1, (2, 2)), IMAGE
    yield "Unflatten.last", nn.Unflatten(-1, (3, 3, 1)), ROWS
    yield "PixelShuffle.one", nn.PixelShuffle(1), IMAGE
    yield "PixelUnshuffle", nn.PixelUnshuffle(2), (2, 3, 4, 6)
    yield "PixelUnshuffle.three", nn.PixelUnshuffle(3), (1, 2, 3, 6)
    yield "Upsample.three", nn.Upsample(scale_factor=3), ROWS
    yield "Upsample.corners", nn.Upsample(size=(3, 8), mode="bilinear", align_corners=True), IMAGE
    shapes = {"Dropout": SEQUENCE, "Dropout1d": ROWS, "Dropout2d": IMAGE, "Dropout3d": VOLUME}
    for kind, x in shapes.items():
        yield f"{kind}.eval", getattr(nn, kind)(0.3).eval(), x
        yield f"{kind}.none", getattr(nn, kind)(0.0), x
        yield f"{kind}.all", getattr(nn, kind)(1.0), x


def main(folder):
    out, notes = {}, {"torch": torch.__version__.split("+")[0]}
    for name, module, shape, *run in [*convolutions(), *norms(), *sequences(), *stateless()]:
        assert name not in notes, name
        notes[name] = fill(module)
        tokens = isinstance(shape[0], tuple)
        x = integers("x", *shape) if tokens else values("x", shape).requires_grad_()
        y = (run[0] if run else lambda m, x: m(x))(module, x)
        out[f"{name}.out"] = y
        (y * values("ct", tuple(y.shape))).sum().backward()
        if not tokens:
            out[f"{name}.grad.x"] = x.grad
        for k, p in module.named_parameters():
            out[f"{name}.grad.{k}"] = p.grad
    tensors = {k: v.detach().float().contiguous().clone() for k, v in out.items()}
    path = Path(folder) / "layers_more.safetensors"
    save_file(tensors, path, notes)
    canonicalize(path)
    print(f"{path}: {len(tensors)} tensors, {path.stat().st_size} bytes")


if __name__ == "__main__":
    main(sys.argv[1])
