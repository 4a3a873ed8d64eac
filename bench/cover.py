#!/usr/bin/env python3
"""Rows that --route mixed sends by the linear cover and by the exact one, counted in a few steps of training.

    bench/cover.py GRAPH --out bench/results/cover_products_like.json

Both run the same steps, so the quotient of their bytes is that of their rows: cover size linear / exact. Of times only the
sampling stage's are kept, which has the covers; they mean something where nothing else runs.
"""

import argparse
import json
import pathlib
import statistics
import subprocess
import tempfile


def run(options, partition, route, cover):
    flags = ["--partition", partition, "--route", route, "--cover", cover, "--fanout", options.fanout, "--batch-size",
             str(options.batch_size), "--hidden", str(options.hidden), "--order", "aggregate", "--prefetch", "0"]
    with tempfile.TemporaryDirectory() as scratch:
        run_dir = pathlib.Path(scratch) / "run"
        subprocess.run([options.gsplit, "train", options.graph, "--run-dir", str(run_dir), "--workers", str(options.workers),
                        "--max-steps", str(options.steps), "--eval-every", "0",
                        "--eval-fanout", ",".join("1" for _ in options.fanout.split(",")), *flags],
                       check=True, stdout=subprocess.DEVNULL)
        lines = (run_dir / "events.jsonl").read_text(encoding="utf-8").splitlines()
    return [event for event in map(json.loads, lines) if event["event"] == "step"]


def total(steps, layer, field="bytes"):
    return sum(step["shuffle_layers"][layer][field] for step in steps)


def compare(options, partition):
    linear, exact = (run(options, partition, "mixed", cover) for cover in ("linear", "exact"))
    push = run(options, partition, "push", "auto")
    layers = len(exact[0]["shuffle_layers"])

    def of_exact(steps, field="bytes"):
        return [round(total(steps, layer, field) / total(exact, layer), 4) for layer in range(layers)]

    assert [step["edges"] for step in linear] == [step["edges"] for step in exact]
    for layer in range(layers):
        assert total(exact, layer) <= total(linear, layer) <= min(total(exact, layer, "bytes_pull"), total(push, layer))
    return {"partition": partition, "linear": of_exact(linear), "pull": of_exact(exact, "bytes_pull"), "push": of_exact(push),
            "bytes": {"exact": sum(step["shuffle_bytes"] for step in exact), "linear": sum(step["shuffle_bytes"] for step in linear)},
            "sample_s": {"linear": round(statistics.median(step["sample_s"] for step in linear), 4),
                         "exact": round(statistics.median(step["sample_s"] for step in exact), 4)}}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("graph")
    parser.add_argument("--gsplit", default="build/release/gsplit")
    parser.add_argument("--out")
    parser.add_argument("--workers", type=int, default=4)
    parser.add_argument("--steps", type=int, default=6)
    parser.add_argument("--batch-size", type=int, default=1024)
    parser.add_argument("--fanout", default="15,10,5")
    parser.add_argument("--hidden", type=int, default=16)
    parser.add_argument("--partitions", default="random,metis")
    options = parser.parse_args()
    rows = []
    for partition in options.partitions.split(","):
        rows.append(compare(options, partition))
        print(json.dumps(rows[-1]), flush=True)
    if options.out:
        result = {key: getattr(options, key) for key in ("workers", "steps", "batch_size", "fanout")} | {"rows": rows}
        pathlib.Path(options.out).write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
