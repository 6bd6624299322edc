"""What the comparisons share: building programs, and running them one at a time on a machine that is otherwise quiet."""

import json
import os
import pathlib
import resource
import subprocess
import sys
import time

ROOT = pathlib.Path(__file__).resolve().parents[2]
# The share of the machine that others may have before a run, and during one.
QUIET = 0.1
# How many times a run that others disturbed is made again.
AGAIN = 2
# What `--patience` means.
PATIENCE = "seconds to wait for other processes to leave the machine before a run goes on nonetheless"


def threads(count):
    """The environment in which the library, lavapipe and OpenMP use this many threads."""
    return {**os.environ, **dict.fromkeys(("RAYON_NUM_THREADS", "LP_NUM_THREADS", "OMP_NUM_THREADS"), str(count))}


def bench(name, environment):
    """Builds one of the library's benchmarks and returns the program."""
    return built(["cargo", "bench", "-q", "--bench", name, "--no-run"], name, environment)


def built(command, name, environment):
    """Runs a build and returns the program of this name."""
    command = [*command, "--message-format=json-render-diagnostics"]
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True, env=environment, cwd=ROOT)
    for message in map(json.loads, done.stdout.splitlines()):
        if message.get("executable") and message["target"]["name"] == name:
            return message["executable"]
    raise SystemExit(f"the build made no program named {name}")


def busy():
    """Seconds of processor time that all processes have used, and seconds there were; None where the system does not say."""
    try:
        with open("/proc/stat") as stat:
            user, nice, system, idle, wait, irq, soft, *_ = map(int, stat.readline().split()[1:])
    except OSError:
        return None
    used = user + nice + system + irq + soft
    tick = os.sysconf("SC_CLK_TCK")
    return used / tick, (used + idle + wait) / tick


def own():
    """Seconds of processor time of this process and of those that it has waited for."""
    return sum(sum(resource.getrusage(who)[:2]) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))


class Others:
    """The share of the machine that other processes have had since this was made."""

    def __init__(self):
        self.before, self.own = busy(), own()

    def share(self):
        if self.before is None:
            return 0.0
        (used, there), (used_now, there_now) = self.before, busy()
        return (used_now - used - (own() - self.own)) / max(there_now - there, 1e-3)


class Turns:
    """Runs programs one at a time. PyTorch's threads spin while they wait for each other, so that a step takes 5 to 20 times as
    long next to another busy process: each run waits for a quiet machine, and is made again if others were busy meanwhile."""

    def __init__(self, patience, environment=None):
        self.patience, self.environment, self.notes = patience, environment, []
        if busy() is None:
            self.note("nothing was checked for other processes: there is no /proc/stat")

    def note(self, text):
        self.notes.append(text)
        print(text, file=sys.stderr, flush=True)

    def wait(self, what):
        """Waits until others leave the machine alone, or patience ends."""
        end = time.monotonic() + self.patience
        while True:
            others = Others()
            time.sleep(0.5)
            share = others.share()
            if share < QUIET:
                return
            if time.monotonic() > end:
                text = f"{what}: others have {share:.0%} of the machine after {self.patience:g} s of waiting; going on"
                return print(text, file=sys.stderr, flush=True)

    def run(self, what, program):
        """The program's output, from the run that others disturbed least."""
        best = None
        for _ in range(1 + AGAIN):
            self.wait(what)
            others = Others()
            done = subprocess.run(program, capture_output=True, text=True, env=self.environment)
            share = others.share()
            if done.returncode != 0:
                lines = done.stderr.strip().splitlines()
                return self.note(f"{what}: failed: {lines[-1] if lines else done.returncode}")
            if best is None or share < best[0]:
                best = (share, done.stdout)
            if share < QUIET:
                break
        if best[0] >= QUIET:
            self.note(f"{what}: others had {best[0]:.0%} of the machine during the best of {1 + AGAIN} runs")
        return best[1]
