#!/usr/bin/env python3
"""Bytes that split parallelism shuffles with copies of hot rows, by route and wire format, counted in a few steps of training.

    bench/hot_rows.py GRAPH --out bench/results/hot_rows_products_like.json

Nothing is timed, so it may run beside other programs.
"""

import argparse
import itertools
import json
import pathlib
import subprocess
import tempfile

STEP = ["--fanout", "15,10,5", "--batch-size", "1024", "--hidden", "256", "--order", "aggregate"]
FIELDS = ("shuffle_bytes", "shuffle_bytes_pull", "plan_bytes", "input_rows", "rows_cache", "rows_disk", "rows_copied")


def run(options, partition, route, cache, wire, directory):
    """Means of the counts of the steps."""
    flags = ["--partition", partition, "--route", route, "--wire", wire, *STEP]
    if cache is not None:
        flags += ["--cache", "replicate", "--cache-budget", str(cache)]
    subprocess.run([options.gsplit, "train", options.graph, "--run-dir", directory, "--workers", str(options.workers),
                    "--max-steps", str(options.steps), "--eval-every", "0", "--eval-fanout", "1,1,1", *flags],
                   check=True, stdout=subprocess.DEVNULL)
    with open(pathlib.Path(directory) / "events.jsonl", encoding="utf-8") as lines:
        steps = [event for event in map(json.loads, lines) if event["event"] == "step"]
    means = {field: round(sum(step[field] for step in steps) / len(steps)) for field in FIELDS}
    return {"partition": partition, "route": route, "cache_budget": cache or 0, "wire": wire, **means,
            "of_pull": round(means["shuffle_bytes"] / means["shuffle_bytes_pull"], 4)}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("graph")
    parser.add_argument("--gsplit", default="build/release/gsplit")
    parser.add_argument("--out", required=True)
    parser.add_argument("--workers", type=int, default=4)
    parser.add_argument("--steps", type=int, default=6)
    parser.add_argument("--partitions", default="random,metis")
    parser.add_argument("--budgets", default="0.1,0.2,0.5", help="beside none")
    options = parser.parse_args()
    budgets = [None, *map(float, options.budgets.split(","))]
    rows = []
    for partition, route, cache, wire in itertools.product(options.partitions.split(","), ("pull", "mixed"), budgets, ("fp32", "bf16")):
        with tempfile.TemporaryDirectory() as scratch:
            rows.append(run(options, partition, route, cache, wire, str(pathlib.Path(scratch) / "run")))
        print(json.dumps(rows[-1]), flush=True)
    result = {"workers": options.workers, "steps": options.steps, "flags": STEP, "rows": rows}
    pathlib.Path(options.out).write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
