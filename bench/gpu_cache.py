#!/usr/bin/env python3
"""What a cache of hot rows on the GPU (--gpu-cache) spares a step's input layer: bytes over the bus and in the GPU's memory, counted.

    bench/gpu_cache.py GRAPH --out bench/results/gpu_cache_products_like.json

One worker; blocks and presampled reads are those of a run, drawn on the CPU, since they are the same there. Nothing is timed, so it may run
beside other programs.
"""

import argparse
import json
import os
import pathlib
import subprocess
import tempfile

import numpy as np

STEP = ["--fanout", "15,10,5", "--batch-size", "1024", "--hidden", "256"]
ADDRESS = 8  # bytes


def run(options, scratch):
    """The blocks of the input layer by step: (destinations, distinct sources); and reads by node."""
    cache = pathlib.Path(scratch) / "cache"
    cache.mkdir()
    subprocess.run([options.gsplit, "train", options.graph, "--run-dir", f"{scratch}/run", "--device", "cpu", "--workers", "1", "--mode", "data",
                    "--cache", "replicate", "--max-steps", str(options.steps), "--eval-every", "0", "--eval-fanout", "1,1,1",
                    "--dump-blocks", f"{scratch}/blocks", *STEP],
                   check=True, stdout=subprocess.DEVNULL, env=dict(os.environ, GSPLIT_CACHE=str(cache)))
    blocks = {}
    with open(f"{scratch}/blocks", encoding="ascii") as lines:
        for line in lines:
            step, layer, destination, *sources = map(int, line.split())
            if layer != 1:
                continue
            destinations, rows = blocks.setdefault(step, (set(), set()))
            destinations.add(destination)
            rows.update(sources, [destination])
    reads = np.load(next(cache.glob("reads-*/reads.npy")))[0]
    return [(np.array(sorted(a)), np.array(sorted(b - a))) for a, b in blocks.values()], reads


def cached(reads, share):
    """Whether each node is cached: the hottest, of equal ones the smaller id."""
    count = round(share * len(reads))
    hot = np.zeros(len(reads), bool)
    hot[np.lexsort((np.arange(len(reads)), -reads.astype(np.int64)))[:count]] = True
    return hot


def count(blocks, hot, row_bytes):
    """Means over steps. Copies are read and written once each; rows from the bus are written alone."""
    steps = []
    for destinations, others in blocks:
        rows = len(destinations) + len(others)
        hits = int(hot[destinations].sum()), int(hot[others].sum())
        misses = rows - sum(hits)
        steps.append({"input_rows": rows, "hits": sum(hits), "bus_bytes": misses * row_bytes,
                      "copied": (misses + 2 * sum(hits)) * row_bytes,
                      "sage": (misses + 2 * hits[0]) * row_bytes + 2 * ADDRESS * rows,
                      "gcn_gin": misses * row_bytes + 2 * ADDRESS * rows})
    return {name: round(sum(step[name] for step in steps) / len(steps)) for name in steps[0]}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("graph")
    parser.add_argument("--gsplit", default="build/release/gsplit")
    parser.add_argument("--out", required=True)
    parser.add_argument("--steps", type=int, default=6)
    parser.add_argument("--shares", default="0,0.1,0.2,0.5,1")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        blocks, reads = run(options, scratch)
    features = np.load(pathlib.Path(options.graph) / "feat.npy", mmap_mode="r")
    row_bytes = features.shape[1] * features.dtype.itemsize
    rows = [{"share": share, **count(blocks, cached(reads, share), row_bytes)} for share in map(float, options.shares.split(","))]
    for row in rows:
        print(json.dumps(row))
    result = {"steps": options.steps, "flags": STEP, "row_bytes": row_bytes, "rows": rows}
    pathlib.Path(options.out).write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
