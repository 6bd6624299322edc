"""Generate audio.safetensors: log-mel spectrograms by torch.stft.

    python scripts/fixtures_audio.py tests/fixtures

    {case}.sounds    [n, length]
    {case}.mel       [n, bands, frames], the mel scale and triangles of torchaudio's MelSpectrogram (HTK, no norm)
    metadata {case}  the settings
"""

import argparse
import math
from pathlib import Path

import torch
from fixtures import computed, from_numpy, rng, stored, write

CASES = {
    "speech": (2, 4000, dict(rate=8000, window=200, hop=80, bands=20, low=20.0, high=4000.0, eps=1e-6)),
    "odd": (1, 701, dict(rate=16000, window=401, hop=111, bands=12, low=100.0, high=7000.0, eps=1e-3)),
}


def filters(rate, window, bands, low, high):
    mel = lambda f: 2595.0 * math.log10(1.0 + f / 700.0)
    corners = torch.linspace(mel(low), mel(high), bands + 2, dtype=torch.float64)
    corners = 700.0 * (10.0 ** (corners / 2595.0) - 1.0)
    bins = torch.arange(window // 2 + 1, dtype=torch.float64) * rate / window
    rising = (bins - corners[:-2, None]) / (corners[1:-1] - corners[:-2])[:, None]
    falling = (corners[2:, None] - bins) / (corners[2:] - corners[1:-1])[:, None]
    return torch.minimum(rising, falling).clamp(min=0.0)


def main():
    parser = argparse.ArgumentParser(description="Generate the fixtures of spectrograms.")
    parser.add_argument("directory", type=Path, help="where the file goes, e.g. tests/fixtures")
    directory = parser.parse_args().directory
    torch.set_num_threads(1)
    tensors, metadata = {}, {}
    for case, (n, length, s) in CASES.items():
        time = torch.arange(length, dtype=torch.float64) / s["rate"]
        tones = sum(torch.sin(2 * math.pi * f * time) for f in (300.0, 1234.5, 3100.0))
        noise = rng(case).standard_normal((n, length)) * 0.05
        sounds = from_numpy(tones.numpy()[None] * 0.2 + noise)
        window = torch.hann_window(s["window"], periodic=True, dtype=torch.float64)
        spectrum = torch.stft(computed(sounds), s["window"], s["hop"], window=window, center=True, pad_mode="reflect", return_complex=True)
        bank = filters(s["rate"], s["window"], s["bands"], s["low"], s["high"])
        tensors[f"{case}.sounds"] = sounds
        tensors[f"{case}.mel"] = stored(torch.log(bank @ spectrum.abs().square() + s["eps"]))
        metadata[case] = s
    write(directory / "audio.safetensors", tensors, metadata)


if __name__ == "__main__":
    main()
