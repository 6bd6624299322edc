#!/usr/bin/env python3
"""Write tests/fixtures/optimizers_more.safetensors and schedules.safetensors.

optimizers_more: 25 steps of optimizers that fixtures.py leaves out, in f64.
    param.{i}, grad.{t}.{i}         inputs
    {config}.after{t}.{i}           parameters after steps 1 and 25
    clipped_{config}.after{t}.{i}   as these, with gradients clipped to a norm of 5
schedules: the learning rate of each step, as torch.optim.lr_scheduler gives it.
    {config}                        f64
    plateau.metrics                 what ReduceLROnPlateau is shown

Lion and LAMB are not in PyTorch; the classes here are transcriptions of
algorithm 2 of each paper.
"""

import warnings
from pathlib import Path

import numpy as np
import torch
from fixtures import canonicalize, rng
from safetensors.torch import save_file

torch.set_num_threads(1)
FIXTURES = Path(__file__).resolve().parent.parent / "tests/fixtures"
warnings.filterwarnings("ignore")

SHAPES = [(7, 5), (5,), (33, 32)]
STEPS = 25


class Lion:
    """Chen et al. 2023, algorithm 2."""

    def __init__(self, params, lr=1e-4, betas=(0.9, 0.99), weight_decay=0.0, maximize=False):
        self.params, self.lr, self.betas, self.decay = params, lr, betas, weight_decay
        self.sign = -1 if maximize else 1
        self.m = [torch.zeros_like(p) for p in params]

    @torch.no_grad()
    def step(self):
        b1, b2 = self.betas
        for p, m in zip(self.params, self.m):
            g = self.sign * p.grad
            update = torch.sign(b1 * m + (1 - b1) * g) + self.decay * p
            p -= self.lr * update
            m.copy_(b2 * m + (1 - b2) * g)


class Lamb:
    """You et al. 2020, algorithm 2, with the identity for phi."""

    def __init__(self, params, lr=1e-3, betas=(0.9, 0.999), eps=1e-6, weight_decay=1e-2, maximize=False):
        self.params, self.lr, self.betas, self.eps, self.decay = params, lr, betas, eps, weight_decay
        self.sign = -1 if maximize else 1
        self.m = [torch.zeros_like(p) for p in params]
        self.v = [torch.zeros_like(p) for p in params]
        self.t = 0

    @torch.no_grad()
    def step(self):
        self.t += 1
        b1, b2 = self.betas
        for p, m, v in zip(self.params, self.m, self.v):
            g = self.sign * p.grad
            m.copy_(b1 * m + (1 - b1) * g)
            v.copy_(b2 * v + (1 - b2) * g * g)
            r = (m / (1 - b1**self.t)) / (torch.sqrt(v / (1 - b2**self.t)) + self.eps)
            d = r + self.decay * p
            wn, dn = p.norm(), d.norm()
            ratio = wn / dn if wn > 0 and dn > 0 else 1.0
            p -= self.lr * ratio * d


O = torch.optim
OPTIMIZERS = {
    "sgd_default": (O.SGD, dict()),
    "adam_default": (O.Adam, dict()),
    "adamw_default": (O.AdamW, dict()),
    "rmsprop_default": (O.RMSprop, dict()),
    "rmsprop_other": (O.RMSprop, dict(lr=0.005, alpha=0.9, eps=1e-4, weight_decay=0.1, momentum=0.5, maximize=True)),
    "adagrad_default": (O.Adagrad, dict()),
    "adagrad_other": (O.Adagrad, dict(lr=0.02, lr_decay=0.05, eps=1e-4, initial_accumulator_value=0.3, maximize=True)),
    "sgd_maximize": (O.SGD, dict(lr=0.05, momentum=0.9, dampening=0.3, weight_decay=0.01, maximize=True)),
    "adam_maximize": (O.Adam, dict(lr=0.01, weight_decay=0.1, maximize=True)),
    "adamw_amsgrad": (O.AdamW, dict(lr=0.01, weight_decay=0.1, amsgrad=True, betas=(0.8, 0.95), eps=1e-6)),
    "nadam": (O.NAdam, dict()),
    "nadam_other": (O.NAdam, dict(lr=0.01, betas=(0.8, 0.95), eps=1e-6, weight_decay=0.1, momentum_decay=0.02)),
    "nadam_decoupled": (O.NAdam, dict(lr=0.01, weight_decay=0.1, decoupled_weight_decay=True)),
    "radam": (O.RAdam, dict()),
    "radam_other": (O.RAdam, dict(lr=0.01, betas=(0.8, 0.9), eps=1e-6, weight_decay=0.1)),
    "radam_decoupled": (O.RAdam, dict(lr=0.01, weight_decay=0.1, decoupled_weight_decay=True)),
    "adamax": (O.Adamax, dict()),
    "adamax_other": (O.Adamax, dict(lr=0.01, betas=(0.8, 0.9), eps=1e-4, weight_decay=0.1, maximize=True)),
    "adadelta": (O.Adadelta, dict()),
    "adadelta_other": (O.Adadelta, dict(lr=0.5, rho=0.8, eps=1e-4, weight_decay=0.1)),
    "lion": (Lion, dict()),
    "lion_other": (Lion, dict(lr=0.01, betas=(0.8, 0.95), weight_decay=0.1)),
    "lamb": (Lamb, dict()),
    "lamb_other": (Lamb, dict(lr=0.02, betas=(0.8, 0.95), eps=1e-4, weight_decay=0.1, maximize=True)),
}

# Gradients are clipped to this norm first; those of most steps are below it.
CLIPPED = {
    "clipped_sgd": (O.SGD, dict(lr=0.05, momentum=0.9)),
    "clipped_adam": (O.Adam, dict(lr=0.01, weight_decay=0.1)),
}
LIMIT = 5.0


def optimizers():
    tensors = {}
    for i, shape in enumerate(SHAPES):
        tensors[f"param.{i}"] = torch.from_numpy(rng(f"more.param.{i}").standard_normal(shape).astype(np.float32))
    for t in range(1, STEPS + 1):
        scale = 1.0 if t % 5 in (1, 2) else 0.05
        for i, shape in enumerate(SHAPES):
            values = scale * rng(f"more.grad.{t}.{i}").standard_normal(shape)
            tensors[f"grad.{t}.{i}"] = torch.from_numpy(values.astype(np.float32))
    for config, (make, options) in (OPTIMIZERS | CLIPPED).items():
        params = [torch.nn.Parameter(tensors[f"param.{i}"].double()) for i in range(len(SHAPES))]
        optimizer = make(params, **options)
        for t in range(1, STEPS + 1):
            for i, p in enumerate(params):
                p.grad = tensors[f"grad.{t}.{i}"].double()
            if config in CLIPPED:
                torch.nn.utils.clip_grad_norm_(params, LIMIT)
            optimizer.step()
            if t in (1, STEPS):
                for i, p in enumerate(params):
                    tensors[f"{config}.after{t}.{i}"] = p.detach().float().clone()
    return tensors


def rates(make, steps, base=0.1, metrics=None):
    optimizer = O.SGD([torch.nn.Parameter(torch.zeros(1))], lr=base)
    scheduler = make(optimizer)
    out = []
    for t in range(steps):
        if metrics is None:
            out.append(optimizer.param_groups[0]["lr"])
            optimizer.step()
            scheduler.step()
        else:
            scheduler.step(metrics[t])
            out.append(optimizer.param_groups[0]["lr"])
    return torch.tensor(out, dtype=torch.float64)


def schedules():
    L = O.lr_scheduler
    tensors = {
        "constant": rates(lambda o: L.ConstantLR(o, factor=1.0), 10),
        "step": rates(lambda o: L.StepLR(o, 4, gamma=0.5), 20),
        "multi_step": rates(lambda o: L.MultiStepLR(o, [3, 3, 8], gamma=0.5), 20),
        "exponential": rates(lambda o: L.ExponentialLR(o, 0.9), 20),
        "linear": rates(lambda o: L.LinearLR(o, 0.25, 0.75, total_iters=8), 20),
        "polynomial": rates(lambda o: L.PolynomialLR(o, total_iters=8, power=2.0), 20),
        "cosine": rates(lambda o: L.CosineAnnealingLR(o, T_max=15, eta_min=0.01), 16),
        "restarts": rates(lambda o: L.CosineAnnealingWarmRestarts(o, 5, 1, eta_min=0.01), 22),
        "restarts_growing": rates(lambda o: L.CosineAnnealingWarmRestarts(o, 3, 2, eta_min=0.0), 30),
        "one_cycle": rates(lambda o: L.OneCycleLR(o, 0.5, total_steps=20), 20),
        "one_cycle_linear": rates(
            lambda o: L.OneCycleLR(
                o, 0.5, total_steps=25, pct_start=0.4, div_factor=10, final_div_factor=100,
                anneal_strategy="linear", three_phase=True,
            ), 25,
        ),
        "joined": rates(
            lambda o: L.SequentialLR(
                o, [L.LinearLR(o, 0.1, 1.0, total_iters=5), L.ExponentialLR(o, 0.9), L.StepLR(o, 2, 0.5)], [5, 12]
            ), 20,
        ),
    }
    metrics = [1.0, 0.9, 0.95, 0.9, 0.91, 0.899, 0.8989, 0.9, float("nan"), 0.9, 0.5, 0.5, 0.5, 0.5, 0.6, 0.7, 0.7, 0.7]
    tensors["plateau.metrics"] = torch.tensor(metrics, dtype=torch.float64)
    P = L.ReduceLROnPlateau
    tensors["plateau.min"] = rates(lambda o: P(o, patience=1, factor=0.5), len(metrics), metrics=metrics)
    tensors["plateau.max"] = rates(
        lambda o: P(o, mode="max", patience=0, factor=0.3, threshold=0.01, threshold_mode="abs", cooldown=2, min_lr=0.002),
        len(metrics), metrics=metrics,
    )
    return tensors


if __name__ == "__main__":
    for name, tensors in [("optimizers_more", optimizers()), ("schedules", schedules())]:
        path = FIXTURES / f"{name}.safetensors"
        save_file({k: v.contiguous() for k, v in tensors.items()}, path, metadata={"format": "pt"})
        canonicalize(path)
        print(f"{path.name}: {len(tensors)} tensors, {path.stat().st_size} bytes")
