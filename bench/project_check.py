#!/usr/bin/env python3
"""Holds `gsplit bench --project` against runs under mpirun on this machine, and writes JSON, the rates and a table.

  bench/project_check.py GRAPH --out bench/results/FILE.json [--workers 1,2,4 --modes split,data --rounds 3 --steps 12]

For each number of workers P, on C cores, one thread a worker:

  rates      of a worker, while min(P, C) of them work at once: `gsplit bench --floor` in as many processes, their median. Where P > C a
             worker has C / P of a core, and its rates are that much lower. Exchanges: build/release/bench/exchange_rate on P ranks, as it
             is, since the ranks share the cores there too. The fixed time of a step: that of a run of one worker on 400 nodes.
             Written as the rates file OUT-pP.yaml.
  projected  `gsplit bench --project` with this file
  measured   `mpirun -n P gsplit train`, the modes in turn, round by round; seconds by the clock from the end of a step to that of the next.

The rates are those of a floor: what the machine reaches at best. So the projection is too short by what a step is above its floor, which one
worker shows; "scaling" leaves that out: (projected at P / projected at 1) / (measured at P / measured at 1). Rates and runs of one P follow
each other, so that other work on the machine weighs on both; the load is printed beside.
"""

import argparse
import json
import os
import pathlib
import statistics
import subprocess
import sys
import tempfile
import time

SOURCE = pathlib.Path(__file__).resolve().parents[1]
WARM_UP = 3
PARTS = {"sample": "sample_s", "load": "load_s", "compute": "compute_s", "comm": "comm_s"}


class Check:
    def __init__(self, arguments, scratch):
        self.arguments = arguments
        self.scratch = scratch
        self.runs = 0
        self.environment = dict(os.environ, OMP_WAIT_POLICY="passive")
        if os.geteuid() == 0:
            self.environment |= {"OMPI_ALLOW_RUN_AS_ROOT": "1", "OMPI_ALLOW_RUN_AS_ROOT_CONFIRM": "1"}
        self.shape = ["--fanout", arguments.fanout, "--batch-size", arguments.batch_size, "--hidden", arguments.hidden]

    def start(self, *command):
        return subprocess.Popen([str(part) for part in command], env=self.environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)

    def finish(self, process):
        out, err = process.communicate()
        if process.returncode != 0:
            sys.exit(f"project_check.py: {' '.join(process.args)} failed with {process.returncode}:\n{(out + err)[-2000:]}")
        return out

    def json_lines(self, *command):
        return [json.loads(line) for line in self.finish(self.start(*command)).splitlines()]

    def floors(self, processes):
        """The floor of a step in as many processes at once: medians of each rate, and what a step counts."""
        command = [self.arguments.gsplit, "bench", self.arguments.dataset, "--floor", "--json", "--threads", 1, *self.shape]
        started = [self.start(*command) for _ in range(processes)]
        found = [json.loads(self.finish(process)) for process in started]
        rates = {rate: statistics.median(one["rates"][rate] for one in found) for rate in found[0]["rates"]}
        return rates, found[0]["counts"]

    def mpirun(self, ranks, *command):
        return self.finish(self.start("mpirun", "--oversubscribe", "--bind-to", "none", "-n", ranks, *command))

    def train(self, dataset, ranks, steps, *flags):
        """Seconds of each step but the first ones, and the medians of its parts."""
        self.runs += 1
        run_dir = self.scratch / f"run-{self.runs}"
        self.mpirun(ranks, self.arguments.gsplit, "train", dataset, "--run-dir", run_dir, "--threads", 1, "--prefetch", 0, "--eval-every", 0,
                    "--eval-fanout", "2,2,2", "--route", "pull", "--order", "aggregate", "--max-steps", steps, *flags)
        with open(run_dir / "events.jsonl", encoding="utf-8") as lines:
            events = [event for event in map(json.loads, lines) if event["event"] == "step"]
        seconds = [step["time"] - before["time"] for before, step in zip(events, events[1:])][WARM_UP - 1:]
        return seconds, {part: statistics.median(step[key] for step in events[WARM_UP:]) for part, key in PARTS.items()}

    def fixed_step(self):
        """Seconds of a step that has next to nothing to do."""
        tiny = self.scratch / "tiny"
        self.finish(self.start(self.arguments.gsplit, "generate", "--kind", "sbm", "--nodes", 400, "--degree", 4, "--features", 4, "--classes", 2, "--out", tiny))
        seconds, _ = self.train(tiny, 1, 60, "--fanout", "2,2,2", "--hidden", 8, "--batch-size", 1)
        return statistics.median(seconds)

    def rates(self, workers, cores, step):
        """Of one of `workers` on `cores`; see above."""
        measured, counts = self.floors(min(workers, cores))
        share = min(1, cores / workers)
        drawn = statistics.mean(line["edges"] for line in self.json_lines(
            self.arguments.gsplit, "bench", self.arguments.dataset, "--volumes", "--json", "--workers", 1, *self.shape))
        exchange = {"exchange": 1e-6, "peer_bytes": 1e12}
        if workers > 1:
            exchange = json.loads(self.mpirun(workers, self.arguments.exchange_rate))
        return {"name": f"this machine, {workers} workers of one thread on {cores} cores", "workers_per_host": workers,
                "sampled_edges": drawn / (counts["random_reads"] / measured["random_reads"]) * share, "dense_flops": measured["gemm_flops"] * share,
                "memory_bytes": measured["stream_bytes"] * share, "load_bytes": measured["gather_bytes"] * share,
                "peer_bytes": exchange["peer_bytes"], "network_bytes": exchange["peer_bytes"], "exchange": exchange["exchange"], "step": step}

    def project(self, workers, rates):
        file = self.arguments.out.with_name(f"{self.arguments.out.stem}-p{workers}.yaml")
        file.write_text("".join(f"{key}: {value if isinstance(value, str) else format(value, '.4e' if isinstance(value, float) else '')}\n"
                                for key, value in rates.items()), encoding="utf-8")
        lines = self.json_lines(self.arguments.gsplit, "bench", self.arguments.dataset, "--project", file, "--json", "--workers", workers,
                                "--partition", self.arguments.partition, "--cache-budget", 0, *self.shape)
        return {line["mode"]: line for line in lines}

    def measure(self, workers, modes):
        """Rounds of each mode, in turn."""
        rounds = {mode: [] for mode in modes}
        for number in range(self.arguments.rounds):
            for mode in modes:
                seconds, parts = self.train(self.arguments.dataset, workers, self.arguments.steps, "--mode", mode, "--partition", self.arguments.partition,
                                            *self.shape)
                rounds[mode].append({"step_s": statistics.median(seconds), "fastest_s": min(seconds), "load_average": os.getloadavg()[0], **parts})
                print(f"P = {workers}, round {number + 1}, {mode}: {rounds[mode][-1]['step_s']:.3f} s, fastest {min(seconds):.3f} s, "
                      f"load {os.getloadavg()[0]:.1f}", flush=True)
        return rounds


def middle(rounds, key):
    return statistics.median(one[key] for one in rounds)


def table(results):
    lines = ["| workers | mode | projected, s | measured: median (rounds), s | error | fastest step, s | error | scaling | load |", "|---|---|---|---|---|---|---|---|---|"]
    first = results[0]
    for line in results:
        projected, measured, fastest = line["projected"]["step_s"], middle(line["rounds"], "step_s"), min(one["fastest_s"] for one in line["rounds"])
        scaling = projected / first["projected"]["step_s"] / (fastest / min(one["fastest_s"] for one in first["rounds"]))
        steps = [one["step_s"] for one in line["rounds"]]
        loads = [one["load_average"] for one in line["rounds"]]
        lines.append(f"| {line['workers']} | {line['mode']} | {projected:.3f} | {measured:.3f} ({min(steps):.3f} to {max(steps):.3f}) | {projected / measured - 1:+.0%} | "
                     f"{fastest:.3f} | {projected / fastest - 1:+.0%} | {scaling:.2f} | {min(loads):.1f} to {max(loads):.1f} |")
    return "\n".join(lines)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("dataset", type=pathlib.Path)
    parser.add_argument("--out", type=pathlib.Path, required=True)
    parser.add_argument("--gsplit", type=pathlib.Path, default=SOURCE / "build" / "release" / "gsplit")
    parser.add_argument("--exchange-rate", type=pathlib.Path, default=SOURCE / "build" / "release" / "bench" / "exchange_rate")
    parser.add_argument("--workers", default="1,2,4", help="separated by commas; the first is what the others are compared with")
    parser.add_argument("--modes", default="split,data")
    parser.add_argument("--partition", default="metis")
    parser.add_argument("--fanout", default="15,10,5")
    parser.add_argument("--batch-size", type=int, default=1024)
    parser.add_argument("--hidden", type=int, default=256)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--steps", type=int, default=12)
    parser.add_argument("--note", default="")
    arguments = parser.parse_args()
    cores = len(os.sched_getaffinity(0))
    results = []
    with tempfile.TemporaryDirectory() as scratch:
        check = Check(arguments, pathlib.Path(scratch))
        step = check.fixed_step()
        for workers in map(int, arguments.workers.split(",")):
            modes = arguments.modes.split(",") if workers > 1 else ["data"]
            rates = check.rates(workers, cores, step)
            projected = check.project(workers, rates)
            rounds = check.measure(workers, modes)
            results += [{"workers": workers, "mode": mode, "rates": rates, "projected": projected[mode], "rounds": rounds[mode]} for mode in modes]
            machine = {"cores": cores, "date": time.strftime("%Y-%m-%d"), "dataset": arguments.dataset.name, "partition": arguments.partition,
                       "fanout": arguments.fanout, "batch_size": arguments.batch_size, "hidden": arguments.hidden, "steps": arguments.steps, "note": arguments.note}
            arguments.out.write_text(json.dumps({"machine": machine, "results": results}, indent=1) + "\n", encoding="utf-8")
    print(table(results))


if __name__ == "__main__":
    main()
