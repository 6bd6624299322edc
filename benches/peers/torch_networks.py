"""The networks of `benches/zoo` in PyTorch."""

import torch
import torch.nn.functional as F
from torch import nn

from zoo import CHARACTERS, CLASSES, COMMANDS, MANY_CLASSES, WORDS


class Gpt(nn.Module):
    def __init__(self, width=128, layers=4, heads=4, context=128):
        super().__init__()
        self.wte, self.wpe = nn.Embedding(CHARACTERS, width), nn.Embedding(context, width)
        self.h = nn.ModuleList(GptBlock(width, heads) for _ in range(layers))
        self.ln_f = nn.LayerNorm(width)
        self.lm_head = nn.Linear(width, CHARACTERS, bias=False)
        self.lm_head.weight = self.wte.weight
        for name, weight in self.named_parameters():
            if weight.dim() == 2:
                nn.init.normal_(weight, std=0.02 / (2 * layers) ** 0.5 if "c_proj" in name else 0.02)

    def forward(self, tokens):
        x = self.wte(tokens) + self.wpe.weight[: tokens.shape[1]]
        for block in self.h:
            x = block(x)
        return self.lm_head(self.ln_f(x))


class GptBlock(nn.Module):
    def __init__(self, width, heads):
        super().__init__()
        self.heads = heads
        self.ln_1, self.ln_2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.c_attn, self.attn_c_proj = nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.c_fc, self.mlp_c_proj = nn.Linear(width, 4 * width), nn.Linear(4 * width, width)

    def forward(self, x):
        n, t, width = x.shape
        q, k, v = (part.view(n, t, self.heads, -1).transpose(1, 2) for part in self.c_attn(self.ln_1(x)).split(width, 2))
        y = F.scaled_dot_product_attention(q, k, v, is_causal=True).transpose(1, 2).reshape(n, t, width)
        x = x + self.attn_c_proj(y)
        return x + self.mlp_c_proj(F.gelu(self.c_fc(self.ln_2(x))))


def m5(width=32):
    layers = []
    for inputs, outputs, kernel, stride in (
        (1, width, 80, 16), (width, width, 3, 1), (width, 2 * width, 3, 1), (2 * width, 2 * width, 3, 1),
    ):
        layers += [nn.Conv1d(inputs, outputs, kernel, stride), nn.BatchNorm1d(outputs), nn.ReLU(), nn.MaxPool1d(4)]
    return nn.Sequential(*layers, nn.AdaptiveAvgPool1d(1), nn.Flatten(), nn.Linear(2 * width, COMMANDS))


def conv(inputs, outputs, kernel, stride=1, groups=1):
    layer = nn.Conv2d(inputs, outputs, kernel, stride, (kernel - 1) // 2, groups=groups, bias=False)
    nn.init.kaiming_normal_(layer.weight, mode="fan_out")
    return layer


class ResNetBlock(nn.Module):
    def __init__(self, inputs, outputs, stride):
        super().__init__()
        self.conv1, self.bn1 = conv(inputs, outputs, 3, stride), nn.BatchNorm2d(outputs)
        self.conv2, self.bn2 = conv(outputs, outputs, 3), nn.BatchNorm2d(outputs)
        self.relu = nn.ReLU(inplace=True)
        self.downsample = None
        if stride != 1 or inputs != outputs:
            self.downsample = nn.Sequential(conv(inputs, outputs, 1, stride), nn.BatchNorm2d(outputs))

    def forward(self, x):
        y = self.bn2(self.conv2(self.relu(self.bn1(self.conv1(x)))))
        y += x if self.downsample is None else self.downsample(x)
        return self.relu(y)


def resnet18(width, classes, small):
    kernel, stride = (3, 1) if small else (7, 2)
    layers = [conv(3, width, kernel, stride), nn.BatchNorm2d(width), nn.ReLU(inplace=True)]
    layers += [] if small else [nn.MaxPool2d(3, 2, 1)]
    inputs = width
    for stage in range(4):
        for block in range(2):
            layers.append(ResNetBlock(inputs, width << stage, 2 if stage > 0 and block == 0 else 1))
            inputs = width << stage
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(inputs, classes))


class ChannelNorm(nn.LayerNorm):
    def forward(self, x):
        return super().forward(x.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)


class ConvNextBlock(nn.Module):
    def __init__(self, channels):
        super().__init__()
        self.depthwise, self.norm = nn.Conv2d(channels, channels, 7, padding=3, groups=channels), nn.LayerNorm(channels)
        self.expand, self.contract = nn.Linear(channels, 4 * channels), nn.Linear(4 * channels, channels)
        self.scale = nn.Parameter(torch.full((channels,), 1e-6))

    def forward(self, x):
        y = self.norm(self.depthwise(x).permute(0, 2, 3, 1))
        y = self.contract(F.gelu(self.expand(y))) * self.scale
        return x + y.permute(0, 3, 1, 2)


def convnext(widths=(32, 64, 128)):
    layers = [nn.Conv2d(3, widths[0], 2, 2), ChannelNorm(widths[0])]
    for stage, width in enumerate(widths):
        if stage > 0:
            layers += [ChannelNorm(widths[stage - 1]), nn.Conv2d(widths[stage - 1], width, 2, 2)]
        layers += [ConvNextBlock(width) for _ in range(2)]
    pool = [nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.LayerNorm(widths[-1]), nn.Linear(widths[-1], CLASSES)]
    return nn.Sequential(*layers, *pool)


class Tagger(nn.Module):
    def __init__(self, width=128):
        super().__init__()
        self.word_embeddings = nn.Embedding(WORDS, width)
        self.lstm = nn.LSTM(width, width, batch_first=True)
        self.hidden2tag = nn.Linear(width, CLASSES)

    def forward(self, words):
        return self.hidden2tag(self.lstm(self.word_embeddings(words))[0])


class Lstm(nn.Module):
    def __init__(self):
        super().__init__()
        self.lstm, self.head = nn.LSTM(64, 64, 2), nn.Linear(64, CLASSES)

    def forward(self, x):
        return self.head(self.lstm(x)[0])


def double_conv(inputs, outputs):
    layers = []
    for inputs in (inputs, outputs):
        layers += [nn.Conv2d(inputs, outputs, 3, padding=1, bias=False), nn.BatchNorm2d(outputs), nn.ReLU(inplace=True)]
    return nn.Sequential(*layers)


class UNet(nn.Module):
    def __init__(self, width=16, levels=4, classes=2):
        super().__init__()
        self.inc = double_conv(3, width)
        self.down = nn.ModuleList(double_conv(width << i, width << (i + 1)) for i in range(levels))
        deepest_first = list(reversed(range(levels)))
        self.up = nn.ModuleList(nn.ConvTranspose2d(width << (i + 1), width << i, 2, 2) for i in deepest_first)
        self.conv = nn.ModuleList(double_conv(width << (i + 1), width << i) for i in deepest_first)
        self.head = nn.Conv2d(width, classes, 1)

    def forward(self, x):
        skips = [self.inc(x)]
        for down in self.down:
            skips.append(down(F.max_pool2d(skips[-1], 2)))
        x = skips.pop()
        for up, conv in zip(self.up, self.conv):
            x = conv(torch.cat([skips.pop(), up(x)], 1))
        return self.head(x)


class InvertedResidual(nn.Module):
    def __init__(self, inputs, outputs, stride, expand):
        super().__init__()
        hidden = inputs * expand
        layers = [] if expand == 1 else conv_bn_relu(inputs, hidden, 1)
        layers += conv_bn_relu(hidden, hidden, 3, stride, hidden)
        self.conv = nn.Sequential(*layers, conv(hidden, outputs, 1), nn.BatchNorm2d(outputs))
        self.skip = stride == 1 and inputs == outputs

    def forward(self, x):
        return x + self.conv(x) if self.skip else self.conv(x)


def conv_bn_relu(inputs, outputs, kernel, stride=1, groups=1):
    return [conv(inputs, outputs, kernel, stride, groups), nn.BatchNorm2d(outputs), nn.ReLU6(inplace=True)]


def mobilenet():
    layers, inputs = conv_bn_relu(3, 32, 3, 2), 32
    for expand, outputs, count, stride in (
        (1, 16, 1, 1), (6, 24, 2, 2), (6, 32, 3, 2), (6, 64, 4, 2), (6, 96, 3, 1), (6, 160, 3, 2), (6, 320, 1, 1),
    ):
        for i in range(count):
            layers.append(InvertedResidual(inputs, outputs, stride if i == 0 else 1, expand))
            inputs = outputs
    layers += conv_bn_relu(inputs, 1280, 1)
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Dropout(0.2), nn.Linear(1280, MANY_CLASSES))


class SentenceEncoder(nn.Module):
    def __init__(self, width=384, heads=12, layers=6, longest=512):
        super().__init__()
        self.words, self.places, self.norm = nn.Embedding(WORDS, width), nn.Embedding(longest, width), nn.LayerNorm(width)
        layer = nn.TransformerEncoderLayer(width, heads, 1536, activation="gelu", batch_first=True)
        self.encoder = nn.TransformerEncoder(layer, layers)

    def forward(self, words):
        x = self.words(words) + self.places.weight[: words.shape[1]]
        return self.encoder(self.norm(x)).mean(1)


class LstmEncoder(nn.Module):
    def __init__(self):
        super().__init__()
        self.lstm = nn.LSTM(40, 256, 3)

    def forward(self, x):
        return self.lstm(x)[0][-1]


def cnn():
    return nn.Sequential(
        nn.Conv2d(1, 16, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2),
        nn.Conv2d(16, 32, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2),
        nn.Flatten(), nn.Linear(1568, 128), nn.ReLU(), nn.Linear(128, CLASSES),
    )


def mlp():
    return nn.Sequential(
        nn.Linear(784, 512), nn.ReLU(), nn.Linear(512, 512), nn.ReLU(), nn.Linear(512, CLASSES),
    )


# By the names in `zoo.py`.
NETWORKS = {
    "mlp": mlp,
    "cnn": cnn,
    "gpt": Gpt,
    "m5": m5,
    "resnet18": lambda: resnet18(64, MANY_CLASSES, False),
    "resnet18-small": lambda: resnet18(64, CLASSES, True),
    "resnet18-narrow": lambda: resnet18(16, CLASSES, True),
    "convnext": convnext,
    "tagger": Tagger,
    "lstm": Lstm,
    "unet": UNet,
    "mobilenet": mobilenet,
    "encoder": SentenceEncoder,
    "lstm-encoder": LstmEncoder,
}
