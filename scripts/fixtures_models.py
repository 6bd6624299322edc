"""Generate the PyTorch reference fixtures of layers and ready models.

Run it from the repository root, in an environment that has `torch`, `numpy`
and `safetensors`:

    python scripts/fixtures_models.py tests/fixtures

Weights and inputs come from a formula that the tests repeat (SplitMix64 from
the FNV-1a hash of a name), so only what PyTorch makes of them is stored.
PyTorch computes in float64 on values rounded to float32.

layers.safetensors
    {case}.out, {case}.grad.x, {case}.grad.{parameter}  of sum(out * ct)
models.safetensors
    {model}.logits              in evaluation mode
    {model}.loss                of 10 steps of SGD in training mode
both: metadata {case}           the state dict's names and shapes, as
                                "name:2,3;name:4"
"""

import math
import sys

import numpy as np
import torch
from safetensors.torch import save_file
from torch import nn
from torch.nn import functional as F

torch.set_num_threads(1)
M = (1 << 64) - 1


def uniform(name, n):
    seed = 0xCBF29CE484222325
    for byte in name.encode():
        seed = ((seed ^ byte) * 0x100000001B3) & M
    with np.errstate(over="ignore"):
        z = np.uint64(seed) + np.arange(1, n + 1, dtype=np.uint64) * np.uint64(0x9E3779B97F4A7C15)
        z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        return ((z ^ (z >> np.uint64(31))) >> np.uint64(11)).astype(np.float64) / 2.0**53


def values(name, shape, center=0.0, spread=1.0):
    u = uniform(name, math.prod(shape))
    v = (center + spread * (2.0 * u - 1.0)).astype(np.float32)
    return torch.from_numpy(v.astype(np.float64)).reshape(shape)


def integers(name, shape, k):
    return torch.from_numpy(np.floor(uniform(name, math.prod(shape)) * k).astype(np.int64)).reshape(shape)


def weight(name, shape, batch_norm):
    if name.endswith("running_var"):
        return values(name, shape, 1.0, 0.2)
    # Batch normalisation leaves most of its output above 0: near dead channels of a narrow, deep network, rounding grows
    # so fast that PyTorch's own float32 and float64 part within a few steps.
    if batch_norm and not name.endswith("running_mean"):
        return values(name, shape, 0.4 if name.endswith("weight") else 0.8, 0.1)
    if len(shape) >= 2:
        return values(name, shape, 0.0, math.sqrt(3.0 / math.prod(shape[1:])))
    return values(name, shape, 1.0 if name.endswith("weight") else 0.0, 0.1)


def fill(module):
    module.double()
    state = {k: v for k, v in module.state_dict().items() if not k.endswith("num_batches_tracked")}
    described = ";".join(f"{k}:{','.join(map(str, v.shape))}" for k, v in state.items())
    with torch.no_grad():
        for k, v in state.items():
            name = "transformer.wte.weight" if k == "lm_head.weight" else k
            v.copy_(weight(name, tuple(v.shape), k.rsplit(".", 1)[0] + ".running_mean" in state))
    return described


def layer_cases():
    x3, x4 = values("x", (5, 3, 4)), values("x", (2, 4, 3, 3))
    lengths = torch.tensor([5, 2, 4])

    def packed(m, x):
        y = nn.utils.rnn.pack_padded_sequence(x, lengths, enforce_sorted=False)
        return nn.utils.rnn.pad_packed_sequence(m(y)[0], total_length=5)[0]

    def whole(m, x):
        y, h = m(x)
        h = torch.cat([s.reshape(-1) for s in (h if isinstance(h, tuple) else (h,))])
        return torch.cat([y.reshape(-1), h])

    for kind in ("RNN", "LSTM", "GRU"):
        make = getattr(nn, kind)
        yield f"{kind}", make(4, 3), x3, whole
        yield f"{kind}.deep", make(4, 3, num_layers=2, bidirectional=True), x3, whole
        yield f"{kind}.packed", make(4, 3, num_layers=2, bidirectional=True), x3, packed
    yield "RNN.relu", nn.RNN(4, 3, nonlinearity="relu", bias=False), x3, whole
    for name, more in (("post", {}), ("pre", {"norm_first": True, "activation": "gelu"})):
        layer = nn.TransformerEncoderLayer(4, 2, 6, 0.0, batch_first=True, **more)
        yield f"encoder.{name}", layer, x3, lambda m, x: m(x)
        layer = nn.TransformerDecoderLayer(4, 2, 6, 0.0, batch_first=True, **more)
        memory = values("memory", (5, 2, 4))
        yield f"decoder.{name}", layer, x3, lambda m, x, memory=memory: m(x, memory)
    stack = nn.TransformerEncoder(nn.TransformerEncoderLayer(4, 2, 6, 0.0, batch_first=True), 2, nn.LayerNorm(4))
    causal = nn.Transformer.generate_square_subsequent_mask(3, dtype=torch.float64)
    yield "encoder.stack", stack, x3, lambda m, x: m(x, mask=causal)
    yield "Bilinear", nn.Bilinear(4, 4, 3), x3, lambda m, x: m(x, x)
    yield "PReLU", nn.PReLU(4), x4, lambda m, x: m(x)
    plain = {
        "ReLU": nn.ReLU(), "ReLU6": nn.ReLU6(), "LeakyReLU": nn.LeakyReLU(), "LeakyReLU.2": nn.LeakyReLU(0.2), "ELU": nn.ELU(),
        "ELU.2": nn.ELU(0.5), "CELU": nn.CELU(), "CELU.2": nn.CELU(0.5), "SELU": nn.SELU(), "GELU": nn.GELU(),
        "GELU.tanh": nn.GELU("tanh"), "SiLU": nn.SiLU(), "Mish": nn.Mish(), "Hardsigmoid": nn.Hardsigmoid(),
        "Hardswish": nn.Hardswish(), "Hardtanh": nn.Hardtanh(), "Hardtanh.2": nn.Hardtanh(-0.2, 0.7),
        "Hardshrink": nn.Hardshrink(), "Hardshrink.2": nn.Hardshrink(0.2), "Softshrink": nn.Softshrink(),
        "Softshrink.2": nn.Softshrink(0.2), "Tanhshrink": nn.Tanhshrink(), "Softplus": nn.Softplus(),
        "Softplus.2": nn.Softplus(2.0, 1.0), "Softsign": nn.Softsign(), "Sigmoid": nn.Sigmoid(), "LogSigmoid": nn.LogSigmoid(),
        "Tanh": nn.Tanh(), "Threshold": nn.Threshold(0.1, 2.0), "GLU": nn.GLU(1), "Softmax": nn.Softmax(-1),
        "LogSoftmax": nn.LogSoftmax(-1), "Softmin": nn.Softmin(-1), "PixelShuffle": nn.PixelShuffle(2),
        "Upsample": nn.Upsample(scale_factor=2),
        "Upsample.linear": nn.Upsample(size=(5, 4), mode="bilinear", align_corners=False),
        "AdaptiveAvgPool2d": nn.AdaptiveAvgPool2d((2, 1)), "AdaptiveMaxPool2d": nn.AdaptiveMaxPool2d((2, 2)),
    }
    for name, module in plain.items():
        yield name, module, x4, lambda m, x: m(x)


class LeNet(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv1, self.conv2 = nn.Conv2d(1, 6, 5, padding=2), nn.Conv2d(6, 16, 5)
        self.fc1, self.fc2, self.fc3 = nn.Linear(400, 120), nn.Linear(120, 84), nn.Linear(84, 10)

    def forward(self, x):
        x = F.max_pool2d(F.relu(self.conv1(x)), 2)
        x = F.max_pool2d(F.relu(self.conv2(x)), 2).flatten(1)
        return self.fc3(F.relu(self.fc2(F.relu(self.fc1(x)))))


class ResBlock(nn.Module):
    def __init__(self, i, w, stride, bottleneck):
        super().__init__()
        o = 4 * w if bottleneck else w
        k, s1, s2 = (1, 1, stride) if bottleneck else (3, stride, 1)
        self.conv1, self.bn1 = nn.Conv2d(i, w, k, s1, k // 2, bias=False), nn.BatchNorm2d(w)
        self.conv2, self.bn2 = nn.Conv2d(w, w, 3, s2, 1, bias=False), nn.BatchNorm2d(w)
        if bottleneck:
            self.conv3, self.bn3 = nn.Conv2d(w, o, 1, bias=False), nn.BatchNorm2d(o)
        self.bottleneck, self.downsample = bottleneck, None
        if stride != 1 or i != o:
            self.downsample = nn.Sequential(nn.Conv2d(i, o, 1, stride, bias=False), nn.BatchNorm2d(o))

    def forward(self, x):
        y = self.bn2(self.conv2(F.relu(self.bn1(self.conv1(x)))))
        if self.bottleneck:
            y = self.bn3(self.conv3(F.relu(y)))
        return F.relu(y + (x if self.downsample is None else self.downsample(x)))


class ResNet(nn.Module):
    def __init__(self, counts, bottleneck, width, classes, small):
        super().__init__()
        self.small = small
        self.conv1 = nn.Conv2d(3, width, 3, 1, 1, bias=False) if small else nn.Conv2d(3, width, 7, 2, 3, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        i = width
        for s, count in enumerate(counts):
            w, blocks = width << s, []
            for b in range(count):
                blocks.append(ResBlock(i, w, 2 if s > 0 and b == 0 else 1, bottleneck))
                i = 4 * w if bottleneck else w
            setattr(self, f"layer{s + 1}", nn.Sequential(*blocks))
        self.fc = nn.Linear(i, classes)

    def forward(self, x):
        x = F.relu(self.bn1(self.conv1(x)))
        x = x if self.small else F.max_pool2d(x, 3, 2, 1)
        for s in range(4):
            x = getattr(self, f"layer{s + 1}")(x)
        return self.fc(x.mean((2, 3)))


def cbr(i, o, k, s, g):
    return nn.Sequential(nn.Conv2d(i, o, k, s, k // 2, groups=g, bias=False), nn.BatchNorm2d(o), nn.ReLU6())


class Inverted(nn.Module):
    def __init__(self, i, o, s, t):
        super().__init__()
        h = i * t
        layers = [cbr(i, h, 1, 1, 1)] if t != 1 else []
        self.conv = nn.Sequential(*layers, cbr(h, h, 3, s, h), nn.Conv2d(h, o, 1, bias=False), nn.BatchNorm2d(o))
        self.skip = s == 1 and i == o

    def forward(self, x):
        return x + self.conv(x) if self.skip else self.conv(x)


def divisible(v):
    n = max(8, int(v + 4) // 8 * 8)
    return n + 8 if n < 0.9 * v else n


class MobileNetV2(nn.Module):
    def __init__(self, width, classes, small):
        super().__init__()
        s = 1 if small else 2
        i = divisible(32 * width)
        layers = [cbr(3, i, 3, s, 1)]
        for t, c, n, stride in [(1, 16, 1, 1), (6, 24, 2, s), (6, 32, 3, 2), (6, 64, 4, 2), (6, 96, 3, 1), (6, 160, 3, 2), (6, 320, 1, 1)]:
            for b in range(n):
                layers.append(Inverted(i, divisible(c * width), stride if b == 0 else 1, t))
                i = divisible(c * width)
        last = divisible(1280 * max(1.0, width))
        self.features = nn.Sequential(*layers, cbr(i, last, 1, 1, 1))
        self.classifier = nn.Sequential(nn.Dropout(0.0), nn.Linear(last, classes))

    def forward(self, x):
        return self.classifier(self.features(x).mean((2, 3)))


class Double(nn.Module):
    def __init__(self, i, o):
        super().__init__()
        half = lambda i: [nn.Conv2d(i, o, 3, padding=1, bias=False), nn.BatchNorm2d(o), nn.ReLU()]
        self.double_conv = nn.Sequential(*half(i), *half(o))

    def forward(self, x):
        return self.double_conv(x)


class Up(nn.Module):
    def __init__(self, i, o):
        super().__init__()
        self.up, self.conv = nn.ConvTranspose2d(i, o, 2, 2), Double(i, o)

    def forward(self, x, skip):
        x = self.up(x)
        dy, dx = skip.shape[2] - x.shape[2], skip.shape[3] - x.shape[3]
        x = F.pad(x, [dx // 2, dx - dx // 2, dy // 2, dy - dy // 2])
        return self.conv(torch.cat([skip, x], 1))


class Down(nn.Module):
    def __init__(self, i, o):
        super().__init__()
        self.maxpool_conv = nn.Sequential(nn.MaxPool2d(2), Double(i, o))

    def forward(self, x):
        return self.maxpool_conv(x)


class Out(nn.Module):
    def __init__(self, i, o):
        super().__init__()
        self.conv = nn.Conv2d(i, o, 1)

    def forward(self, x):
        return self.conv(x)


class UNet(nn.Module):
    def __init__(self):
        super().__init__()
        self.inc, self.down1, self.down2 = Double(3, 4), Down(4, 8), Down(8, 16)
        self.up1, self.up2, self.outc = Up(16, 8), Up(8, 4), Out(4, 2)

    def forward(self, x):
        a = self.inc(x)
        b = self.down1(a)
        return self.outc(self.up2(self.up1(self.down2(b), b), a))


class Attention(nn.Module):
    def __init__(self, e, heads):
        super().__init__()
        self.c_attn, self.c_proj, self.heads = nn.Linear(e, 3 * e), nn.Linear(e, e), heads

    def forward(self, x):
        n, l, e = x.shape
        q, k, v = (t.view(n, l, self.heads, e // self.heads).transpose(1, 2) for t in self.c_attn(x).split(e, 2))
        return self.c_proj(F.scaled_dot_product_attention(q, k, v, is_causal=True).transpose(1, 2).reshape(n, l, e))


class GptBlock(nn.Module):
    def __init__(self, e, heads):
        super().__init__()
        self.ln_1, self.attn, self.ln_2 = nn.LayerNorm(e), Attention(e, heads), nn.LayerNorm(e)
        self.mlp = nn.ModuleDict({"c_fc": nn.Linear(e, 4 * e), "c_proj": nn.Linear(4 * e, e)})

    def forward(self, x):
        x = x + self.attn(self.ln_1(x))
        return x + self.mlp["c_proj"](F.gelu(self.mlp["c_fc"](self.ln_2(x))))


class Gpt(nn.Module):
    def __init__(self):
        super().__init__()
        self.transformer = nn.ModuleDict({
            "wte": nn.Embedding(11, 8), "wpe": nn.Embedding(6, 8), "h": nn.ModuleList([GptBlock(8, 2), GptBlock(8, 2)]),
            "ln_f": nn.LayerNorm(8),
        })
        self.lm_head = nn.Linear(8, 11, bias=False)
        self.lm_head.weight = self.transformer["wte"].weight

    def forward(self, x):
        t = self.transformer
        x = t["wte"](x) + t["wpe"].weight[: x.shape[1]]
        for block in t["h"]:
            x = block(x)
        return self.lm_head(t["ln_f"](x))


class Tagger(nn.Module):
    def __init__(self):
        super().__init__()
        self.word_embeddings = nn.Embedding(11, 6, padding_idx=0)
        self.lstm = nn.LSTM(6, 5, num_layers=2, bidirectional=True, batch_first=True)
        self.hidden2tag = nn.Linear(10, 4)

    def forward(self, x):
        return self.hidden2tag(self.lstm(self.word_embeddings(x))[0])


class M5(nn.Module):
    def __init__(self):
        super().__init__()
        w = 4
        for i, (a, b, k, s) in enumerate([(1, w, 80, 4), (w, w, 3, 1), (w, 2 * w, 3, 1), (2 * w, 2 * w, 3, 1)], 1):
            setattr(self, f"conv{i}", nn.Conv1d(a, b, k, s))
            setattr(self, f"bn{i}", nn.BatchNorm1d(b))
        self.fc1 = nn.Linear(2 * w, 5)

    def forward(self, x):
        for i in range(1, 5):
            x = F.max_pool1d(F.relu(getattr(self, f"bn{i}")(getattr(self, f"conv{i}")(x))), 4)
        return self.fc1(x.mean(2))


MODELS = {
    # model, input shape or (shape, tokens), labels' shape, classes
    "mlp": (lambda: nn.Sequential(nn.Linear(12, 16), nn.ReLU(), nn.Dropout(0.0), nn.Linear(16, 5)), (6, 12), (6,), 5),
    "lenet": (LeNet, (4, 1, 28, 28), (4,), 10),
    "resnet18": (lambda: ResNet((2, 2, 2, 2), False, 4, 5, True), (4, 3, 16, 16), (4,), 5),
    "resnet34": (lambda: ResNet((3, 4, 6, 3), False, 4, 5, False), (4, 3, 64, 64), (4,), 5),
    "resnet50": (lambda: ResNet((3, 4, 6, 3), True, 2, 5, True), (4, 3, 16, 16), (4,), 5),
    "mobilenet": (lambda: MobileNetV2(0.25, 5, True), (4, 3, 16, 16), (4,), 5),
    "unet": (UNet, (2, 3, 14, 12), (2, 14, 12), 2),
    "gpt": (Gpt, ((3, 6), 11), (3, 6), 11),
    "tagger": (Tagger, ((3, 6), 11), (3, 6), 4),
    "m5": (M5, (4, 1, 2000), (4,), 5),
}


def main(folder):
    out, notes = {}, {"torch": torch.__version__}
    for name, module, x, run in layer_cases():
        notes[name] = fill(module)
        x = x.clone().requires_grad_()
        y = run(module, x)
        out[f"{name}.out"] = y
        (y * values("ct", tuple(y.shape))).sum().backward()
        out[f"{name}.grad.x"] = x.grad
        for k, p in module.named_parameters():
            out[f"{name}.grad.{k}"] = p.grad
    tensors = {k: v.detach().float().contiguous().clone() for k, v in out.items()}
    save_file(tensors, f"{folder}/layers.safetensors", notes)

    out, notes = {}, {"torch": torch.__version__}
    for name, (make, shape, labels, classes) in MODELS.items():
        model = make()
        notes[name] = fill(model)
        batch = lambda t: integers(f"x{t}", shape[0], shape[1]) if isinstance(shape[0], tuple) else values(f"x{t}", shape)
        model.eval()
        out[f"{name}.logits"] = model(batch(0)).detach()
        model.train()
        sgd = torch.optim.SGD(model.parameters(), lr=0.01)
        losses = []
        for t in range(10):
            y = model(batch(t))
            if y.dim() > 2:
                y = y.movedim(1, -1) if name == "unet" else y
            loss = F.cross_entropy(y.reshape(-1, classes), integers(f"y{t}", labels, classes).reshape(-1))
            sgd.zero_grad()
            loss.backward()
            sgd.step()
            losses.append(loss.detach())
        out[f"{name}.loss"] = torch.stack(losses)
    tensors = {k: v.float().contiguous().clone() for k, v in out.items()}
    save_file(tensors, f"{folder}/models.safetensors", notes)


if __name__ == "__main__":
    main(sys.argv[1])
