#!/usr/bin/env python3
"""Times a training step of gsplit in each mode, in turn, beside what --mode auto takes, and writes JSON and a table.

  build/release/gsplit generate --kind sbm --nodes 600000 --degree 50 --features 100 --classes 47 --out GRAPH
  bench/modes.py GRAPH --out bench/results/FILE.json [--models sage,gat --workers 4 --threads 1 --rounds 3 --steps 20]

Before anything is timed, on a small graph in fp64, every mode must find the losses of split parallelism within 1e-9. Then, round by round,
every mode runs in turn; auto settles once, in the first round, and its run is that of the mode that it took. A run's figures are medians
over its steps but the first ones: seconds by the clock from the end of one step to that of the next, and processor seconds of all
workers. The table has the median over rounds, in parentheses the lowest and the highest.
"""

import argparse
import json
import os
import pathlib
import platform
import re
import statistics
import subprocess
import sys
import tempfile
import time

SOURCE = pathlib.Path(__file__).resolve().parents[1]
WARM_UP = 3
COUNTS = ["sample_s", "load_s", "compute_s", "comm_s", "edges", "input_rows", "shuffle_bytes", "plan_bytes"]
TICKS = os.sysconf("SC_CLK_TCK")


def modes_of(workers, model):
    """Flags of each fixed mode."""
    modes = {"split": ["--mode", "split"]}
    for size in range(workers - 1, 1, -1):
        if workers % size == 0:
            modes[f"hybrid {size}"] = ["--mode", "hybrid", "--group-size", size]
    modes["data"] = ["--mode", "data"]
    if model != "gat":
        modes["p3"] = ["--mode", "p3"]
    return modes


def processor_seconds(pid):
    fields = pathlib.Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / TICKS


class Bench:
    def __init__(self, arguments, scratch):
        self.arguments = arguments
        self.scratch = scratch
        self.environment = dict(os.environ, GSPLIT_CACHE=str(arguments.cache))
        self.runs = 0

    def train(self, dataset, *flags):
        """The steps of a run, each with the processor seconds of the process when it was seen, and what the run said."""
        self.runs += 1
        run_dir = self.scratch / f"run-{self.runs}"
        command = [self.arguments.gsplit, "train", dataset, "--run-dir", run_dir, "--workers", self.arguments.workers,
                   "--threads", self.arguments.threads, "--eval-every", 0, *flags]
        with open(self.scratch / "said", "w+", encoding="utf-8") as said:
            process = subprocess.Popen([str(part) for part in command], env=self.environment, stdout=said, stderr=said, text=True)
            steps = []
            while process.poll() is None:
                time.sleep(0.01)
                self.see(run_dir / "events.jsonl", process.pid, steps)
            self.see(run_dir / "events.jsonl", None, steps)
            said.seek(0)
            text = said.read()
        if process.returncode != 0:
            sys.exit(f"modes.py: {' '.join(map(str, command))} failed with {process.returncode}:\n{text[-2000:]}")
        return steps, text

    @staticmethod
    def see(events, pid, steps):
        """Appends the steps that have been written since."""
        if not events.exists():
            return
        lines = [line for line in events.read_text(encoding="utf-8").splitlines(keepends=True) if line.endswith("\n")]
        found = [event for event in map(json.loads, lines) if event["event"] == "step"]
        for step in found[len(steps):]:
            try:
                step["processor_s"] = processor_seconds(pid) if pid else None
            except OSError:
                step["processor_s"] = None
            steps.append(step)

    def figures(self, *flags):
        """Medians over the steps of a run, and what it said."""
        steps, said = self.train(self.arguments.dataset, "--max-steps", self.arguments.steps, "--eval-fanout", "2,2,2", *flags)
        seconds = [step["time"] - before["time"] for before, step in zip(steps, steps[1:])][WARM_UP - 1:]
        seen = [step["processor_s"] for step in steps[WARM_UP - 1:] if step["processor_s"] is not None]
        steps = steps[WARM_UP:]
        found = {"step_s": statistics.median(seconds), "fastest_s": min(seconds), "processor_s": (seen[-1] - seen[0]) / (len(seen) - 1)}
        return found | {key: statistics.median(step[key] for step in steps) for key in COUNTS}, said


def check(bench, models):
    """Every mode has the losses of split."""
    small = bench.scratch / "small"
    subprocess.run([bench.arguments.gsplit, "generate", "--kind", "sbm", "--nodes", "3000", "--degree", "12", "--features", "12",
                    "--classes", "5", "--out", small], check=True, stdout=subprocess.DEVNULL)
    for model in models:
        losses = {}
        for mode, flags in modes_of(bench.arguments.workers, model).items():
            steps, _ = bench.train(small, "--model", model, "--precision", "fp64", "--batch-size", 300, "--fanout", "5,4,3", "--hidden", 16,
                                   "--max-steps", 20, *flags)
            losses[mode] = [step["loss"] for step in steps]
            worst = max(abs(one - other) for one, other in zip(losses[mode], losses["split"], strict=True))
            if worst > 1e-9:
                sys.exit(f"modes.py: {model} in mode {mode} is {worst} away from split; nothing is timed")
        print(f"check: {model}: {', '.join(losses)} agree", flush=True)


def measure(bench, model):
    """Rounds of each mode; what auto took, and what it estimated in ms."""
    modes = modes_of(bench.arguments.workers, model)
    rounds = {mode: [] for mode in modes}
    fixed = ["--model", model, "--partition", bench.arguments.partition]
    _, said = bench.train(bench.arguments.dataset, *fixed, "--mode", "auto", "--max-steps", 1, "--eval-fanout", "2,2,2")
    estimates = {" ".join(filter(None, (mode, size))): float(milliseconds) for mode, size, milliseconds in
                 re.findall(r"mode auto: (\w+)(?: in groups of (\d+))?: ([0-9.]+) ms a step", said)}
    taken = re.search(r"mode auto: takes (.+)", said)[1].replace(" in groups of", "")
    print(f"{model}: auto takes {taken} of {estimates}", flush=True)
    for number in range(bench.arguments.rounds):
        for mode, flags in modes.items():
            rounds[mode].append(bench.figures(*fixed, *flags)[0])
            last = rounds[mode][-1]
            print(f"{model} round {number + 1}: {mode} {last['step_s']:.3f} s, fastest {last['fastest_s']:.3f} s, "
                  f"processor {last['processor_s']:.3f} s", flush=True)
    return {"auto": taken, "estimates_ms": estimates, "rounds": rounds}


def table(results):
    lines = ["| | s a step | processor s | MB shuffled | MB of plans | input rows | auto's estimate, s |", "|---|---|---|---|---|---|---|"]
    for model, result in results.items():
        for mode, rounds in result["rounds"].items():
            middle = {key: statistics.median(one[key] for one in rounds) for key in rounds[0]}
            seconds = [one["step_s"] for one in rounds]
            estimate = result["estimates_ms"].get(mode)
            mark = " (auto takes it)" if mode == result["auto"] else ""
            lines.append(f"| {model} {mode}{mark} | {middle['step_s']:.3f} ({min(seconds):.3f}, {max(seconds):.3f}) | "
                         f"{middle['processor_s']:.3f} | {middle['shuffle_bytes'] / 1e6:.1f} | {middle['plan_bytes'] / 1e6:.1f} | "
                         f"{middle['input_rows']:,.0f} | {'' if estimate is None else f'{estimate / 1e3:.3f}'} |")
    return "\n".join(lines)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("dataset", type=pathlib.Path)
    parser.add_argument("--out", type=pathlib.Path, required=True)
    parser.add_argument("--gsplit", type=pathlib.Path, default=SOURCE / "build" / "release" / "gsplit")
    parser.add_argument("--cache", type=pathlib.Path, default=pathlib.Path.home() / ".cache" / "gsplit")
    parser.add_argument("--models", default="sage,gat", help="separated by commas")
    parser.add_argument("--partition", default="metis")
    parser.add_argument("--workers", type=int, default=4)
    parser.add_argument("--threads", type=int, default=1, help="of each worker")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--steps", type=int, default=20)
    parser.add_argument("--note", default="")
    arguments = parser.parse_args()
    models = arguments.models.split(",")
    with tempfile.TemporaryDirectory() as scratch:
        bench = Bench(arguments, pathlib.Path(scratch))
        check(bench, models)
        results = {}
        for model in models:
            results[model] = measure(bench, model)
            machine = {"processor": platform.processor() or platform.machine(), "cores": os.cpu_count(), "workers": arguments.workers,
                       "threads": arguments.threads, "date": time.strftime("%Y-%m-%d"), "load_average": os.getloadavg(),
                       "dataset": arguments.dataset.name, "partition": arguments.partition, "rounds": arguments.rounds,
                       "steps": arguments.steps, "note": arguments.note}
            arguments.out.write_text(json.dumps({"machine": machine, "results": results}, indent=1) + "\n", encoding="utf-8")
    print(table(results))


if __name__ == "__main__":
    main()
