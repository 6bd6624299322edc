"""Steps of training in PyTorch: prints {"name": .., "steps": [[network, ms], ..]}. Arguments: seconds, then networks.

f32 without TF32, a fresh batch and the loss read in each step, the better of plain and fused Adam, as in a plain program.
"""
import json
import sys
import time

import torch
import torch.nn as nn
import torch.nn.functional as F

limit, wanted = float(sys.argv[1]), sys.argv[2:]
begin = time.monotonic()
if torch.cuda.is_available():
    device, kind = torch.device("cuda"), torch.cuda.get_device_name()
elif getattr(torch.backends, "mps", None) and torch.backends.mps.is_available():
    device, kind = torch.device("mps"), "mps"
else:
    device, kind = torch.device("cpu"), f"cpu, {torch.get_num_threads()} threads"
torch.backends.cuda.matmul.allow_tf32 = False
torch.backends.cudnn.allow_tf32 = False
torch.manual_seed(0)


def conv(i, o, k, stride=1, groups=1):
    return nn.Sequential(nn.Conv2d(i, o, k, stride, k // 2, groups=groups, bias=False), nn.BatchNorm2d(o))


class Block(nn.Module):
    def __init__(self, i, o, stride):
        super().__init__()
        self.a, self.b = conv(i, o, 3, stride), conv(o, o, 3)
        self.side = conv(i, o, 1, stride) if stride > 1 or i != o else nn.Identity()

    def forward(self, x):
        return F.relu(self.b(F.relu(self.a(x))) + self.side(x))


def resnet18(small, classes):
    stem = [conv(3, 64, 3), nn.ReLU()] if small else [conv(3, 64, 7, 2), nn.ReLU(), nn.MaxPool2d(3, 2, 1)]
    widths = [64, 64, 64, 128, 128, 256, 256, 512, 512]
    blocks = [Block(widths[n], widths[n + 1], 2 if n in (2, 4, 6) else 1) for n in range(8)]
    return nn.Sequential(*stem, *blocks, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(512, classes))


class Inverted(nn.Module):
    def __init__(self, i, o, stride, factor):
        super().__init__()
        wide = i * factor
        widen = [conv(i, wide, 1), nn.ReLU6()] if factor > 1 else []
        self.body = nn.Sequential(*widen, conv(wide, wide, 3, stride, wide), nn.ReLU6(), conv(wide, o, 1))
        self.joins = stride == 1 and i == o

    def forward(self, x):
        return x + self.body(x) if self.joins else self.body(x)


def mobilenet():
    layers, width = [conv(3, 32, 3, 2), nn.ReLU6()], 32
    for factor, out, count, stride in [
        (1, 16, 1, 1), (6, 24, 2, 2), (6, 32, 3, 2), (6, 64, 4, 2), (6, 96, 3, 1), (6, 160, 3, 2), (6, 320, 1, 1)
    ]:
        for n in range(count):
            layers.append(Inverted(width, out, stride if n == 0 else 1, factor))
            width = out
    tail = [conv(320, 1280, 1), nn.ReLU6(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Dropout(0.2), nn.Linear(1280, 1000)]
    return nn.Sequential(*layers, *tail)


class Attention(nn.Module):
    def __init__(self, d, heads):
        super().__init__()
        self.heads, self.qkv, self.out = heads, nn.Linear(d, 3 * d), nn.Linear(d, d)

    def forward(self, x):
        b, t, d = x.shape
        q, k, v = self.qkv(x).view(b, t, 3, self.heads, d // self.heads).permute(2, 0, 3, 1, 4)
        y = F.scaled_dot_product_attention(q, k, v, is_causal=True)
        return self.out(y.transpose(1, 2).reshape(b, t, d))


class Layer(nn.Module):
    def __init__(self, d, heads):
        super().__init__()
        self.n1, self.n2, self.attention = nn.LayerNorm(d), nn.LayerNorm(d), Attention(d, heads)
        self.mlp = nn.Sequential(nn.Linear(d, 4 * d), nn.GELU(approximate="tanh"), nn.Linear(4 * d, d))

    def forward(self, x):
        x = x + self.attention(self.n1(x))
        return x + self.mlp(self.n2(x))


class Gpt(nn.Module):
    def __init__(self, layers, heads, d, block, vocabulary):
        super().__init__()
        self.tokens, self.places = nn.Embedding(vocabulary, d), nn.Embedding(block, d)
        self.layers, self.norm = nn.Sequential(*[Layer(d, heads) for _ in range(layers)]), nn.LayerNorm(d)
        self.head = nn.Linear(d, vocabulary, bias=False)
        self.head.weight = self.tokens.weight

    def forward(self, x):
        places = torch.arange(x.shape[1], device=x.device)
        return self.head(self.norm(self.layers(self.tokens(x) + self.places(places)))).flatten(0, 1)


def mlp():
    return nn.Sequential(nn.Linear(784, 512), nn.ReLU(), nn.Linear(512, 512), nn.ReLU(), nn.Linear(512, 10))


NETWORKS = {
    "mlp": (mlp, (128, 784), 10),
    "resnet18-cifar": (lambda: resnet18(True, 10), (64, 3, 32, 32), 10),
    "resnet18": (lambda: resnet18(False, 1000), (32, 3, 224, 224), 1000),
    "mobilenet": (mobilenet, (32, 3, 224, 224), 1000),
    "gpt-mini": (lambda: Gpt(4, 4, 128, 64, 83), (32, 64), 83),
    "gpt-small": (lambda: Gpt(12, 12, 768, 256, 50257), (8, 256), 50257),
}


def median(network, fused):
    make, shape, classes = NETWORKS[network]
    model = make().to(device)
    adam = torch.optim.Adam(model.parameters(), 1e-3, fused=fused)
    tokens = network.startswith("gpt")
    rows = shape[0] * shape[1] if tokens else shape[0]
    x = torch.randint(classes, shape) if tokens else torch.rand(shape)
    y, times = torch.randint(classes, (rows,)), []
    while len(times) < 23 and (len(times) < 4 or sum(times) < 5):
        start = time.perf_counter()
        loss = F.cross_entropy(model(x.to(device)), y.to(device))
        adam.zero_grad(set_to_none=True)
        loss.backward()
        adam.step()
        loss.item()
        times.append(time.perf_counter() - start)
    times = sorted(times[3:])
    return 1e3 * times[len(times) // 2]


steps = []
for network in wanted:
    if network in NETWORKS and time.monotonic() - begin < limit:
        best = median(network, False)
        try:
            best = min(best, median(network, True))
        except RuntimeError:
            pass  # no fused form on this device
        steps.append([network, best])
print(json.dumps({"name": f"PyTorch {torch.__version__}, {kind}", "steps": steps}))
