"""Training steps of recurrent layers here and in PyTorch, on the CPU, in turn.

    python benches/peers/recurrent.py [CASE ...] [--rounds 3] [--threads 2] [--patience 60]

Needs PyTorch. A case is kind:layers:steps:batch:inputs:hidden, as for `cargo bench --bench recurrent`; by default LSTM and GRU from
50 to 500 steps. Each program is a process of its own, one at a time; PyTorch uses the better of its two Adams. Prints a table of the
least over rounds of the medians of 40 steps, and PyTorch's time over ours: above 1, ours is faster.
"""

import argparse
import os
import sys
import time

import turns

CASES = [
    f"{kind}:{sizes}"
    for kind in ("lstm", "gru")
    for sizes in (
        "1:50:1:128:128", "1:50:32:128:128", "1:500:1:32:32", "1:500:8:32:32", "1:200:64:64:64", "2:200:32:64:64",
        "1:100:16:256:256", "1:50:64:512:512",
    )
]


def steps_of(case, threads):
    """Runs a case in this process and prints the median in milliseconds."""
    import torch

    torch.set_num_threads(threads)
    torch.set_flush_denormal(True)
    kind, *sizes = case.split(":")
    layers, t, n, inputs, hidden = map(int, sizes)
    best = None
    for fused in (False, True):
        torch.manual_seed(0)
        layer = {"lstm": torch.nn.LSTM, "gru": torch.nn.GRU, "rnn": torch.nn.RNN}[kind](inputs, hidden, layers)
        head = torch.nn.Linear(hidden, 10)
        adam = torch.optim.Adam([*layer.parameters(), *head.parameters()], fused=fused)
        x, times = torch.randn(t, n, inputs), []
        for _ in range(41):
            start = time.perf_counter()
            loss = head(layer(x)[0].reshape(t * n, hidden)).square().mean()
            adam.zero_grad()
            loss.backward()
            adam.step()
            loss.item()
            times.append((time.perf_counter() - start) * 1e3)
        median = sorted(times[1:])[20]
        best = median if best is None else min(best, median)
    print(best)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("cases", nargs="*", default=CASES)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    parser.add_argument("--patience", type=float, default=60, help=turns.PATIENCE)
    parser.add_argument("--one", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.one:
        return steps_of(options.one, options.threads)
    environment = turns.threads(options.threads)
    ours = [turns.bench("recurrent", environment)]
    runner = turns.Turns(options.patience, environment)
    print("| case | ours, ms | PyTorch, ms | ratio |\n|---|---|---|---|")
    for case in options.cases:
        times = ([], [])
        for _ in range(options.rounds):
            theirs = [sys.executable, __file__, "--one", case, "--threads", str(options.threads)]
            for program, found in zip(([*ours, case], theirs), times):
                out = (runner.run(case, program) or sys.exit(1)).split()
                found.append(float(out[out.index("median") + 1] if "median" in out else out[-1]))
        mine, theirs = map(min, times)
        print(f"| {case} | {mine:.2f} | {theirs:.2f} | {theirs / mine:.2f} |", flush=True)


if __name__ == "__main__":
    main()
