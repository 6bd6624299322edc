"""Generate norms.safetensors: batch and instance normalisation layers of PyTorch over several batches.

    python scripts/fixtures_norms.py tests/fixtures

Weights and inputs come from the formula of `fixtures_models.py`. Each layer
sees three batches in training and then one in evaluation.

    {case}.out.{t}              output of batch t in training, t = 0..3
    {case}.grad.x, .grad.{p}    gradients of sum(out * ct) for batch 2
    {case}.eval                 output of batch 3 in evaluation
    {case}.eval.grad.x, ...     gradients of sum(out * ct) for it
    {case}.state.{key}          the state dict in the end, with its counter
    metadata {case}             JSON: the class, its arguments, the input's
                                shape, and the state dict as in layers.safetensors
"""

import json
import sys

import torch
from fixtures import canonicalize
from fixtures_models import fill, values
from pathlib import Path
from safetensors.torch import save_file
from torch import nn

torch.set_num_threads(1)

SHAPES = {
    "BatchNorm1d": [(4, 3), (4, 3, 5)],
    "BatchNorm2d": [(2, 3, 4, 3)],
    "BatchNorm3d": [(2, 3, 2, 2, 3)],
    "InstanceNorm1d": [(3, 2, 5), (2, 5)],
    "InstanceNorm2d": [(2, 3, 3, 4), (3, 3, 4)],
    "InstanceNorm3d": [(2, 2, 2, 3, 2), (2, 2, 3, 2)],
}

SETTINGS = [
    ("default", {}),
    ("plain", dict(affine=False)),
    ("affine", dict(affine=True)),
    ("untracked", dict(track_running_stats=False)),
    ("tracked", dict(track_running_stats=True)),
    ("tracked_affine", dict(affine=True, track_running_stats=True, momentum=0.3, eps=0.01)),
    ("cumulative", dict(momentum=None, track_running_stats=True)),
    ("bare", dict(affine=False, track_running_stats=False, eps=0.1)),
    ("whole", dict(momentum=1.0, track_running_stats=True)),
]


def cases():
    for kind, shapes in SHAPES.items():
        channels = 3 if "Batch" in kind or "2d" in kind else 2
        for n, shape in enumerate(shapes):
            for name, args in SETTINGS if n == 0 else SETTINGS[:1] + SETTINGS[5:6]:
                yield f"{kind}.{name}" + ("" if n == 0 else f".{len(shape)}"), kind, channels, shape, args


def main(folder):
    out, notes = {}, {"torch": torch.__version__.split("+")[0]}
    for case, kind, channels, shape, args in cases():
        layer = getattr(nn, kind)(channels, **args)
        state = fill(layer)
        notes[case] = json.dumps(dict(kind=kind, channels=channels, shape=shape, args=args, state=state))
        ct = values("ct", shape)

        def run(t, key):
            x = (values(f"x{t}", shape) * (t + 1) + t).requires_grad_()
            layer.zero_grad()
            y = layer(x)
            (y * ct).sum().backward()
            out[key] = y
            return {"x": x.grad} | {k: p.grad.clone() for k, p in layer.named_parameters()}

        for t in range(3):
            grads = run(t, f"{case}.out.{t}")
        out.update({f"{case}.grad.{k}": g for k, g in grads.items()})
        layer.eval()
        grads = run(3, f"{case}.eval")
        out.update({f"{case}.eval.grad.{k}": g for k, g in grads.items()})
        out.update({f"{case}.state.{k}": v for k, v in layer.state_dict().items()})
    tensors = {k: v.detach() for k, v in out.items()}
    tensors = {k: (v if v.dtype == torch.int64 else v.float()).contiguous().clone() for k, v in tensors.items()}
    path = Path(folder) / "norms.safetensors"
    save_file(tensors, path, notes)
    canonicalize(path)
    print(f"{path}: {len(tensors)} tensors, {path.stat().st_size} bytes")


if __name__ == "__main__":
    main(sys.argv[1])
