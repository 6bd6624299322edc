"""The networks of `cargo bench --bench zoo` here, in PyTorch, in ONNX Runtime and in Burn, in turn.

    python benches/peers/zoo.py [ROW ...] [--device cpu] [--rounds 3] [--threads 2] [--peers torch,burn-flex] [--json FILE]

Needs PyTorch for the peer `torch`; `onnx` runs the forward passes and needs onnxruntime, onnx and onnxscript besides PyTorch.
`burn-flex` and `burn-wgpu` are built from `benches/peers/burn`, which takes long the first time. Each program is a process of its
own, one at a time, with the given number of threads. Prints a table as Markdown: a figure is the least over rounds, of a step the
least of the medians. PyTorch runs eagerly, without compilation, and uses the better of its two Adams. Ratios are a peer's figure
over ours: above 1, ours is faster or smaller. Memory is the process's at its peak, without what PyTorch holds on a CUDA device.
On an adapter, first steps depend on what earlier runs left on disk: the driver's shaders and what Burn has found out by trials.
"""

import argparse
import importlib.util
import json
import math
import os
import pathlib
import platform
import shutil
import subprocess
import sys
import tempfile
import time

import picture
import turns

WORDS, CHARACTERS, CLASSES, MANY_CLASSES, COMMANDS = 10_000, 65, 10, 1000, 35

# Network, shape of the inputs, number of different tokens (None: numbers), shape of the labels, classes (None: a forward pass), as
# in `benches/zoo/shared/rows.rs`.
ROWS = {
    "mlp": ("mlp", (128, 784), None, (128,), CLASSES),
    "cnn": ("cnn", (64, 1, 28, 28), None, (64,), CLASSES),
    "gpt": ("gpt", (16, 128), CHARACTERS, (16 * 128,), CHARACTERS),
    "m5": ("m5", (16, 1, 8000), None, (16,), COMMANDS),
    "resnet18-224": ("resnet18", (2, 3, 224, 224), None, (2,), MANY_CLASSES),
    "convnext": ("convnext", (16, 3, 32, 32), None, (16,), CLASSES),
    "tagger": ("tagger", (32, 50), WORDS, (32 * 50,), CLASSES),
    "lstm": ("lstm", (200, 32, 64), None, (200 * 32,), CLASSES),
    "resnet18-narrow-8": ("resnet18-narrow", (64, 3, 8, 8), None, (64,), CLASSES),
    "resnet18-narrow-16": ("resnet18-narrow", (64, 3, 16, 16), None, (64,), CLASSES),
    "resnet18-narrow-32": ("resnet18-narrow", (64, 3, 32, 32), None, (64,), CLASSES),
    "resnet18-32": ("resnet18-small", (16, 3, 32, 32), None, (16,), CLASSES),
    "unet": ("unet", (4, 3, 64, 64), None, (4, 64, 64), 2),
    "mobilenet": ("mobilenet", (4, 3, 224, 224), None, (4,), MANY_CLASSES),
    "forward-mobilenet-1": ("mobilenet", (1, 3, 224, 224), None, None, None),
    "forward-mobilenet-8": ("mobilenet", (8, 3, 224, 224), None, None, None),
    "forward-encoder-1": ("encoder", (1, 40), WORDS, None, None),
    "forward-encoder-10": ("encoder", (10, 40), WORDS, None, None),
    "forward-lstm-1": ("lstm-encoder", (160, 1, 40), None, None, None),
    "forward-lstm-16": ("lstm-encoder", (160, 16, 40), None, None, None),
}
PEERS = {"torch": "PyTorch", "onnx": "ONNX Runtime", "burn-flex": "Burn Flex", "burn-wgpu": "Burn wgpu"}
# Batches in host memory, which steps take in turn.
BATCHES = 8
# A run ends after so many seconds even if steps are left, with at least so many steps.
LONG, FEW = 10, 5


def memory(line):
    """A line of the system's report on this process's memory, in MiB; None where there is none."""
    try:
        with open("/proc/self/status") as status:
            return next(int(text.split()[1]) / 1024 for text in status if text.startswith(line))
    except (OSError, StopIteration):
        return None


def figures(step, steps):
    """Times of a step, which returns its value, and the memory of the process."""

    def timed():
        start = time.perf_counter()
        value = step()
        return (time.perf_counter() - start) * 1e3, value

    first, value = timed()
    times, start = [], time.perf_counter()
    while len(times) < steps and (len(times) < FEW or time.perf_counter() - start < LONG):
        took, value = timed()
        times.append(took)
    times.sort()
    return {
        "steps": len(times), "first_ms": first, "median_ms": times[len(times) // 2], "least_ms": times[0],
        "peak_mib": memory("VmHWM:"), "value": value,
    }


def torch_row(name, options):
    """Runs a row in PyTorch in this process."""
    import torch
    import torch.nn.functional as F

    from torch_networks import NETWORKS

    torch.set_num_threads(options.threads)
    # Losses approach 0, and with them gradients.
    torch.set_flush_denormal(True)
    torch.manual_seed(0)
    on_host = options.device in ("cpu", "software") or not torch.cuda.is_available()
    device = torch.device("cpu" if on_host else "cuda")
    network, shape, tokens, labels, classes = ROWS[name]
    start = memory("VmRSS:")
    model = NETWORKS[network]().to(device)
    batches = []
    for _ in range(BATCHES):
        x = torch.rand(shape) * 2 - 1 if tokens is None else torch.randint(tokens, shape)
        batches.append((x, None if labels is None else torch.randint(classes, labels)))
    done = 0

    def batch():
        nonlocal done
        done += 1
        return batches[done % BATCHES]

    if labels is None:
        model.eval()

        def step():
            with torch.no_grad():
                return model(batch()[0].to(device)).cpu().flatten()[0].item()
    else:
        adam = torch.optim.Adam(model.parameters(), fused=options.fused)

        def step():
            x, y = batch()
            logits = model(x.to(device))
            # Time steps and words count as examples; pixels keep their axes.
            loss = F.cross_entropy(logits.flatten(0, -2) if y.dim() == 1 else logits, y.to(device))
            adam.zero_grad()
            loss.backward()
            adam.step()
            return loss.item()

    return {
        "row": name, "program": "torch", "version": torch.__version__, "device": str(device),
        "parameters": sum(p.numel() for p in model.parameters()), "start_mib": start, **figures(step, options.steps),
    }


def export(name, path):
    """Writes a row's network as an ONNX file."""
    import torch

    from torch_networks import NETWORKS

    torch.manual_seed(0)
    network, shape, tokens, *_ = ROWS[name]
    x = torch.rand(shape) if tokens is None else torch.randint(tokens, shape)
    torch.onnx.export(NETWORKS[network]().eval(), (x,), path, input_names=["x"], dynamo=True, external_data=False)


def onnx_row(name, options):
    """Runs a forward pass that was exported before in ONNX Runtime in this process."""
    import numpy
    import onnxruntime

    _, shape, tokens, *_ = ROWS[name]
    rng = numpy.random.default_rng(0)
    batches = []
    for _ in range(BATCHES):
        x = rng.uniform(-1, 1, shape).astype(numpy.float32) if tokens is None else rng.integers(tokens, size=shape)
        batches.append(x)
    settings = onnxruntime.SessionOptions()
    settings.intra_op_num_threads = options.threads
    start = memory("VmRSS:")
    session = onnxruntime.InferenceSession(options.onnx, settings, providers=["CPUExecutionProvider"])
    done = 0

    def step():
        nonlocal done
        done += 1
        return float(session.run(None, {"x": batches[done % BATCHES]})[0].flat[0])

    return {
        "row": name, "program": "onnx", "version": onnxruntime.__version__, "device": "cpu", "start_mib": start,
        **figures(step, options.steps),
    }


def burn(peer, environment):
    """Builds Burn's networks with a backend and returns the program."""
    command = ["cargo", "build", "-q", "--release", "--locked", "--manifest-path", "benches/peers/burn/Cargo.toml"]
    command += ["--target-dir", "target/peers", "--no-default-features", "--features", peer.removeprefix("burn-")]
    program = pathlib.Path(turns.built(command, "burn-zoo", environment))
    # The next backend's program has the same name.
    return str(shutil.copy2(program, program.with_name(peer)))


class Programs:
    """How each peer runs a row."""

    def __init__(self, options, environment):
        self.options = options
        self.steps = ["--steps", str(options.steps)]
        self.ours = turns.bench("zoo", environment)
        self.burn = {}
        for peer in options.peers:
            if peer.startswith("burn-"):
                self.burn[peer] = burn(peer, environment)

    def of(self, row, folder):
        """Names and command lines, ours first. PyTorch's two Adams are two programs."""
        options = self.options
        here = [sys.executable, __file__, *self.steps, "--threads", str(options.threads), "--device", options.device]
        yield "ours", [self.ours, "--json", "--device", options.device, *self.steps, row]
        training = ROWS[row][4] is not None
        for peer in options.peers:
            if peer == "torch":
                yield "torch", [*here, "--one", row]
                if training:
                    yield "torch-fused", [*here, "--one", row, "--fused"]
            elif peer == "onnx":
                if not training:
                    path = os.path.join(folder, f"{row}.onnx")
                    subprocess.run([sys.executable, __file__, "--export", path, "--one", row], check=True, capture_output=True)
                    yield "onnx", [*here, "--one", row, "--onnx", path]
            else:
                # Flex is for CPUs, wgpu for adapters.
                device = "cpu" if peer == "burn-flex" else "best" if options.device == "cpu" else options.device
                yield peer, [self.burn[peer], "--json", "--device", device, *self.steps, row]


def compare(row, options, programs, runner):
    """All runs of a row, and each peer's best."""
    runs = {}
    with tempfile.TemporaryDirectory() as folder:
        try:
            commands = list(programs.of(row, folder))
        except subprocess.CalledProcessError as error:
            lines = error.stderr.decode().strip().splitlines()
            raise SystemExit(f"{row}: the export failed: {lines[-1] if lines else error}")
        for _ in range(options.rounds):
            for program, command in commands:
                out = runner.run(f"{row}, {program}", command)
                if out is not None:
                    runs.setdefault(program, []).append(json.loads(out.splitlines()[-1]))
    best = {program: least(found) for program, found in runs.items()}
    torch = [best.pop(program) for program in ("torch", "torch-fused") if program in best]
    if torch:
        best["torch"] = min(torch, key=lambda figures: figures["median_ms"])
    counts = {program: figures.get("parameters") for program, figures in best.items()}
    if len({count for count in counts.values() if count is not None}) > 1:
        runner.note(f"{row}: the programs do not have the same number of parameters: {counts}")
    return {"row": row, "best": best, "runs": runs}


def least(found):
    """The least of each figure over rounds."""
    kept = ("parameters", "first_ms", "median_ms", "least_ms", "host_ms", "start_mib", "peak_mib", "device_peak_mib")
    numbers = {key: [run[key] for run in found if run.get(key) is not None] for key in kept}
    return {key: min(values) for key, values in numbers.items() if values}


def cell(value):
    """Three significant digits."""
    if value is None or not math.isfinite(value):
        return "-"
    return f"{value:.0f}" if value >= 100 else f"{value:.1f}" if value >= 10 else f"{value:.2f}"


def line(found, peers):
    """A row of the table."""
    best = found["best"]
    ours = best.get("ours", {})
    cells = [found["row"], f"{ours.get('parameters', 0):,}"]
    cells += [cell(ours.get(key)) for key in ("first_ms", "median_ms", "host_ms", "peak_mib")]
    for peer in peers:
        theirs = best.get(peer, {})
        cells += [cell(theirs.get(key)) for key in ("first_ms", "median_ms")]
        cells.append(ratio(theirs, ours, "median_ms"))
        cells += [cell(theirs.get("peak_mib")), ratio(theirs, ours, "peak_mib")]
    return "| " + " | ".join(cells) + " |"


def ratio(theirs, ours, key):
    return f"**{theirs[key] / ours[key]:.2f}**" if key in theirs and key in ours else "-"


def head(peers):
    names = ["row", "parameters", "ours: first, ms", "step, ms", "host, ms", "MiB"]
    for peer in peers:
        names += [f"{PEERS[peer]}: first, ms", "step, ms", "ratio", "MiB", "ratio"]
    return "| " + " | ".join(names) + " |\n|---" + "|---:" * (len(names) - 1) + "|"


def machine():
    """What the figures were taken on."""
    described = {"system": platform.platform(), "cores": os.cpu_count(), "time": time.strftime("%Y-%m-%d %H:%M %z")}
    commit = subprocess.run(["git", "describe", "--always", "--dirty"], capture_output=True, text=True, cwd=turns.ROOT)
    return {**described, "commit": commit.stdout.strip() or None}


def peers_of(text):
    wrong = [peer for peer in text.split(",") if peer not in PEERS]
    if wrong:
        raise argparse.ArgumentTypeError(f"there is no peer {wrong[0]!r}: give some of {', '.join(PEERS)}")
    return list(dict.fromkeys(text.split(",")))


def at_least_one(text):
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number from 1")
    return int(text)


def arguments():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("rows", nargs="*", metavar="ROW", help=f"by default all of {', '.join(ROWS)}")
    parser.add_argument("--device", default="cpu", help="ours, by kind, index or part of a name; Burn takes kinds and numbers")
    parser.add_argument("--rounds", type=at_least_one, default=3)
    parser.add_argument("--steps", type=at_least_one, default=40, help="fewer where they take more than 10 s")
    parser.add_argument("--threads", type=at_least_one, default=os.cpu_count())
    some = f"some of {','.join(PEERS)}; default: torch,onnx"
    parser.add_argument("--peers", type=peers_of, default=["torch", "onnx"], help=some)
    parser.add_argument("--patience", type=float, default=60, help=turns.PATIENCE)
    parser.add_argument("--json", metavar="FILE", help="also write all figures to this file")
    parser.add_argument("--svg", metavar="FILE", help="also draw the ratios to the first peer of the list to this file")
    for flag in ("--one", "--onnx", "--export"):
        parser.add_argument(flag, help=argparse.SUPPRESS)
    parser.add_argument("--fused", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    for row in [*options.rows, *filter(None, [options.one])]:
        if row not in ROWS:
            parser.error(f"there is no row {row!r}: give some of {', '.join(ROWS)}")
    for flag in ("json", "svg"):
        path = getattr(options, flag)
        if path and not pathlib.Path(path).resolve().parent.is_dir():
            parser.error(f"--{flag}: there is no folder {pathlib.Path(path).parent}; make it first")
    return options


def main():
    options = arguments()
    if options.export:
        return export(options.one, options.export)
    if options.one:
        return print(json.dumps((onnx_row if options.onnx else torch_row)(options.one, options)))
    environment = turns.threads(options.threads)
    runner = turns.Turns(options.patience, environment)
    for peer, modules in (("torch", ["torch"]), ("onnx", ["onnxruntime", "onnx", "onnxscript", "torch"])):
        missing = [module for module in modules if importlib.util.find_spec(module) is None]
        if peer in options.peers and missing:
            options.peers.remove(peer)
            runner.note(f"{PEERS[peer]} is left out: this Python has no {', '.join(missing)}")
    programs = Programs(options, environment)
    print(head(options.peers), flush=True)
    results = []
    for row in options.rows or ROWS:
        found = compare(row, options, programs, runner)
        results.append(found)
        print(line(found, options.peers), flush=True)
        report = {**machine(), "device": options.device, "threads": options.threads, "rounds": options.rounds}
        report |= {"notes": runner.notes, "rows": results}
        if options.json:
            pathlib.Path(options.json).write_text(json.dumps(report, indent=1))
        if options.svg and options.peers:
            peer = options.peers[0]
            pathlib.Path(options.svg).write_text(picture.svg(report, peer, PEERS[peer]))
    for note in runner.notes:
        print(f"\n{note}")


if __name__ == "__main__":
    main()
