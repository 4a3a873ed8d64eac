#!/usr/bin/env python3
"""Times a training step of gsplit beside DGL's and PyG's, in turn, and writes JSON and a table.

  bench/peers/install.sh PEERS             once: virtual environments PEERS/dgl and PEERS/pyg
  build/release/gsplit generate --kind sbm --nodes 600000 --degree 50 --features 100 --classes 47 --out GRAPH
  bench/compare.py GRAPH --peers PEERS --out bench/results/FILE.json [--only sage-fp32 --rounds 3 --steps 15]

Same dataset, model, fanouts, batch, threads, optimizer. First, on a small graph, each peer writes its initial weights and its loss
over full neighbourhoods, and gsplit must find the same loss from these weights; nothing is timed otherwise. Then, round by
round, every contestant runs in turn; a run's figure is the median over its steps but the first ones. The table has the median over
rounds, in parentheses the lowest and the highest.
"""

import argparse
import json
import os
import pathlib
import platform
import statistics
import subprocess
import sys
import tempfile
import time

HERE = pathlib.Path(__file__).resolve().parent
SOURCE = HERE.parent
TCMALLOC = "/usr/lib/x86_64-linux-gnu/libtcmalloc_minimal.so.4"
STAGES = ["sample_s", "load_s", "compute_s"]
WARM_UP = 3
OURS = 3  # gsplit's steps are short: so many times the steps, and the warm-up, of a peer
CASES = ["sage-fp32", "sage-bf16", "gat-fp32"]
SETTINGS = ["example", "tuned"]


def run(command, environment=None):
    done = subprocess.run([str(part) for part in command], env={**os.environ, **(environment or {})}, text=True,
                          capture_output=True, check=False)
    if done.returncode != 0:
        sys.exit(f"compare.py: {' '.join(map(str, command))} failed with {done.returncode}:\n{done.stderr[-2000:]}")
    return done.stdout


class Bench:
    """Where things are, and how each contestant is started."""

    def __init__(self, arguments, scratch):
        self.arguments = arguments
        self.scratch = scratch
        self.environment = {"OMP_NUM_THREADS": str(arguments.threads)}
        self.runs = 0

    def gsplit(self, dataset, model, precision, *more):
        """The events of a training run."""
        self.runs += 1
        run_dir = self.scratch / f"run-{self.runs}"
        run([self.arguments.gsplit, "train", dataset, "--run-dir", run_dir, "--model", model, "--precision", precision,
             "--workers", 1, "--threads", self.arguments.threads, "--eval-every", 0, *more],
            {**self.environment, "GSPLIT_CACHE": str(self.arguments.cache)})
        with open(run_dir / "events.jsonl", encoding="utf-8") as lines:
            return [json.loads(line) for line in lines]

    def peer(self, name, dataset, model, setting, precision, *more):
        """The objects that a peer prints."""
        environment = dict(self.environment)
        if setting == "tuned":
            environment["LD_PRELOAD"] = TCMALLOC
        out = run([self.arguments.peers / name / "bin" / "python", HERE / "peers" / f"{name}_peer.py", dataset, "--model", model,
                   "--setting", setting, "--precision", precision, "--threads", self.arguments.threads, *more], environment)
        return [json.loads(line) for line in out.splitlines() if line.startswith("{")]


def check(bench, peers):
    """The same loss from the same weights, each peer, setting and model."""
    small = bench.scratch / "small"
    run([bench.arguments.gsplit, "generate", "--kind", "sbm", "--nodes", 3000, "--degree", 12, "--features", 12, "--classes", 5,
         "--out", small])
    weights = bench.scratch / "weights.safetensors"
    for name in peers:
        for model in ("sage", "gat"):
            for setting in SETTINGS:
                theirs = bench.peer(name, small, model, setting, "fp32", "--hidden", 16, "--check", weights)[0]["loss"]
                events = bench.gsplit(small, model, "fp32", "--hidden", 16, "--fanout=-1,-1,-1", "--dropout", 0, "--batch-size", 300,
                                      "--max-steps", 1, "--init-from", weights)
                ours = next(event["loss"] for event in events if event["event"] == "step")
                difference = abs(ours - theirs) / theirs
                print(f"check: {name} {setting} {model}: loss {theirs:.6f}, ours {ours:.6f}", flush=True)
                if difference > 1e-5:
                    sys.exit(f"compare.py: {name}'s loss of {model} is {theirs}, ours {ours}; nothing is timed")


def ours(bench, model, precision):
    """Times of each step; a step's is from the end of the one before."""
    events = bench.gsplit(bench.arguments.dataset, model, precision, "--max-steps", OURS * bench.arguments.steps)
    steps = [event for event in events if event["event"] == "step"]
    for before, step in zip(steps, steps[1:]):
        step["step_s"] = step["time"] - before["time"]
        step["compute_s"] += step["comm_s"]
    return steps[OURS * WARM_UP:]


def theirs(bench, name, setting, model, precision):
    steps = bench.peer(name, bench.arguments.dataset, model, setting, precision, "--steps", bench.arguments.steps)
    for step in steps:
        step["step_s"] = sum(step[stage] for stage in STAGES)
    return steps[WARM_UP:]


def summary(steps):
    return {key: statistics.median(step[key] for step in steps) for key in ["step_s", *STAGES, "edges", "input_rows"]}


def measure(bench, case, peers):
    """A list of rounds for each contestant."""
    model, precision = case.split("-")
    contestants = {"gsplit": lambda: ours(bench, model, precision)}
    for name in peers:
        for setting in SETTINGS:
            if setting == "tuned" or precision == "fp32":
                contestants[f"{name} {setting}"] = lambda n=name, s=setting: theirs(bench, n, s, model, precision)
    rounds = {contestant: [] for contestant in contestants}
    for number in range(bench.arguments.rounds):
        for contestant, start in contestants.items():
            rounds[contestant].append(summary(start()))
            print(f"{case} round {number + 1}: {contestant} {rounds[contestant][-1]['step_s']:.3f} s", flush=True)
    return rounds


def medians(rounds):
    return {key: statistics.median(one[key] for one in rounds) for key in rounds[0]}


def table(results):
    lines = ["| | s a step | sampling, loading, computing | edges, input rows | gsplit is faster by |", "|---|---|---|---|---|"]
    for case, rounds in results.items():
        mine = medians(rounds["gsplit"])["step_s"]
        for contestant, runs in rounds.items():
            middle = medians(runs)
            seconds = [one["step_s"] for one in runs]
            stages = ", ".join(f"{middle[stage]:.3f}" for stage in STAGES)
            ratio = "" if contestant == "gsplit" else f"{middle['step_s'] / mine:.2f}"
            lines.append(f"| {case} {contestant} | {middle['step_s']:.3f} ({min(seconds):.3f}-{max(seconds):.3f}) | {stages} | "
                         f"{middle['edges']:,.0f}, {middle['input_rows']:,.0f} | {ratio} |")
    return "\n".join(lines)


def processor():
    with open("/proc/cpuinfo", encoding="utf-8") as lines:
        return next((line.split(":")[1].strip() for line in lines if line.startswith("model name")), platform.machine())


def machine(arguments):
    commit = run(["git", "-C", SOURCE, "rev-parse", "--short", "HEAD"]).strip()
    return {"processor": processor(), "cores": os.cpu_count(), "threads": arguments.threads, "commit": commit,
            "date": time.strftime("%Y-%m-%d"), "load_average": os.getloadavg(), "dataset": arguments.dataset.name,
            "rounds": arguments.rounds, "steps": arguments.steps - WARM_UP}


def parse_arguments():
    parser = argparse.ArgumentParser(description="times gsplit beside its peers")
    parser.add_argument("dataset", type=pathlib.Path)
    parser.add_argument("--peers", type=pathlib.Path, required=True, help="what bench/peers/install.sh made")
    parser.add_argument("--out", type=pathlib.Path, required=True, help="JSON")
    parser.add_argument("--only", action="append", choices=CASES, help="may be repeated; default: all")
    parser.add_argument("--gsplit", type=pathlib.Path, default=SOURCE / "build" / "release" / "gsplit")
    parser.add_argument("--cache", type=pathlib.Path, default=pathlib.Path("~/.cache/gsplit").expanduser())
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--steps", type=int, default=15)
    parser.add_argument("--threads", type=int, default=2)
    return parser.parse_args()


def main():
    arguments = parse_arguments()
    peers = [name for name in ("dgl", "pyg") if (arguments.peers / name / "bin" / "python").exists()]
    for name in {"dgl", "pyg"} - set(peers):
        print(f"compare.py: no {arguments.peers / name}, so without {name}; bench/peers/install.sh makes it", file=sys.stderr)
    if not pathlib.Path(TCMALLOC).exists():
        sys.exit("compare.py: the tuned peers need tcmalloc; install libtcmalloc-minimal4")
    with tempfile.TemporaryDirectory(prefix="gsplit-compare-") as scratch:
        bench = Bench(arguments, pathlib.Path(scratch))
        check(bench, peers)
        about = machine(arguments)
        results = {case: measure(bench, case, peers) for case in arguments.only or CASES}
    arguments.out.parent.mkdir(parents=True, exist_ok=True)
    arguments.out.write_text(json.dumps({"machine": about, "results": results}, indent=1) + "\n", encoding="utf-8")
    print(table(results))


if __name__ == "__main__":
    main()
