#!/usr/bin/env python3
"""How fast gsplit import reads edge lists, beside NumPy doing the same work in the same run.

  GSPLIT=build/release/gsplit bench/import_rate.py [--edges 10000000] [--work DIR]

Both read text into the (2, E) int32 array of a dataset and write it; the arrays are compared before
a rate is printed. NumPy is timed twice, as np.loadtxt and, where the lines hold nothing but numbers,
as np.fromstring over the whole decompressed text. One JSON object a line. The dedup line reverses
the edges and sorts them by (destination, source) without duplicates, with memory for all of them and
with 64 MB; NumPy does it with np.unique on one key an edge. The last lines are 10 M features of an OGB
folder, gzip csv.
"""

import argparse
import gzip
import json
import os
import pathlib
import subprocess
import tempfile
import time

import numpy as np

GSPLIT = os.environ.get("GSPLIT", "build/release/gsplit")


def timed(work):
    """Result and seconds."""
    start = time.perf_counter()
    result = work()
    return result, time.perf_counter() - start


def save(edges, path):
    """As gsplit leaves them: int32, on the disk."""
    with open(path, "wb") as out:
        np.save(out, edges.astype(np.int32))
        out.flush()
        os.fsync(out.fileno())
    return edges


def make_lists(work, edges):
    """An R-MAT graph as text, plain, gzip and, where the tool is there, zstd."""
    nodes = max(edges // 16, 2)
    subprocess.run([GSPLIT, "generate", "--kind", "rmat", "--nodes", str(nodes), "--degree", "16", "--features", "1",
                    "--classes", "2", "--out", work / "rmat"], check=True, stdout=subprocess.DEVNULL)
    ends = np.load(work / "rmat" / "edges.npy")
    plain = work / "edges.txt"
    with open(plain, "w", encoding="ascii") as out:
        for begin in range(0, ends.shape[1], 1 << 20):
            part = ends[:, begin : begin + (1 << 20)].T.tolist()
            out.write("".join(f"{source}\t{destination}\n" for source, destination in part))
    with open(plain, "rb") as source, gzip.open(work / "edges.txt.gz", "wb", compresslevel=6) as out:
        while chunk := source.read(1 << 24):
            out.write(chunk)
    lists = [plain, work / "edges.txt.gz"]
    if subprocess.run(["zstd", "-qk", plain], check=False).returncode == 0:
        lists.append(work / "edges.txt.zst")
    return nodes, ends, lists


def import_with_gsplit(file, out, nodes, *arguments):
    """The edges that gsplit wrote, and the seconds of the whole command: also those for starting, for generating
    labels and features, and for flushing all of it to the disk."""
    command = [GSPLIT, "import", "--format", "edgelist", file, "--out", out, "--nodes", str(nodes),
               "--features-random", "1", "--classes", "2", *arguments]
    _, seconds = timed(lambda: subprocess.run(command, check=True, stdout=subprocess.DEVNULL))
    return np.load(out / "edges.npy"), seconds


def text_of(file):
    """Decompressed."""
    if file.suffix == ".gz":
        return gzip.decompress(file.read_bytes())
    if file.suffix == ".zst":
        return subprocess.run(["zstd", "-dcq", file], check=True, stdout=subprocess.PIPE).stdout
    return file.read_bytes()


def report(what, by, edges, megabytes, seconds):
    """One line."""
    print(json.dumps({"what": what, "by": by, "seconds": round(seconds, 2), "M_edges_s": round(edges / seconds / 1e6, 2),
                      "text_MB_s": round(megabytes / seconds, 1)}), flush=True)


def compare_readers(work, nodes, ends, lists):
    """Reading, for each compression."""
    count = ends.shape[1]
    megabytes = lists[0].stat().st_size / 1e6
    for file in lists:
        edges, seconds = import_with_gsplit(file, work / f"out{file.suffix}", nodes)
        assert np.array_equal(edges, ends)
        report(file.name, "gsplit", count, megabytes, seconds)
        edges, seconds = timed(lambda f=file: save(
            np.fromstring(text_of(f), dtype=np.int64, sep=" ").reshape(-1, 2).T, work / "numpy.npy"))
        assert np.array_equal(edges, ends)
        report(file.name, "numpy.fromstring", count, megabytes, seconds)
        if file.suffix != ".zst":  # which np.loadtxt does not open
            edges, seconds = timed(lambda f=file: save(np.loadtxt(f, dtype=np.int64).T, work / "numpy.npy"))
            assert np.array_equal(edges, ends)
            report(file.name, "numpy.loadtxt", count, megabytes, seconds)


def compare_dedup(work, nodes, ends, file):
    """Reversing, sorting, dropping duplicates."""
    count = ends.shape[1]
    megabytes = file.stat().st_size / 1e6

    def with_numpy():
        edges = np.fromstring(text_of(file), dtype=np.int64, sep=" ").reshape(-1, 2).T
        both = np.concatenate([edges, edges[::-1]], axis=1)
        key = np.unique(both[1] * nodes + both[0])
        return save(np.stack([key % nodes, key // nodes]), work / "numpy.npy")

    expected, seconds = timed(with_numpy)
    report("reverse, dedup", "numpy.unique", count, megabytes, seconds)
    for memory in ("8G", "64M"):
        edges, seconds = import_with_gsplit(file, work / f"dedup{memory}", nodes, "--reverse-edges", "--dedup",
                                            "--memory", memory)
        assert np.array_equal(edges, expected)
        report("reverse, dedup", f"gsplit, {memory}", count, megabytes, seconds)


def compare_features(work, rows=100_000, width=100):
    """Features of an OGB folder, as gzip csv; the rest of the folder is small."""
    root = work / "ogb"
    features = np.random.default_rng(1).standard_normal((rows, width)).astype(np.float32)
    tables = {"raw/node-feat": "\n".join(",".join(map("{:.6f}".format, row)) for row in features.tolist()),
              "raw/num-node-list": str(rows), "raw/num-edge-list": "1", "raw/edge": "0,1",
              "raw/node-label": "1\n" * rows, "split/a/train": "0", "split/a/valid": "1", "split/a/test": "2"}
    for name, text in tables.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / f"{name}.csv.gz").write_bytes(gzip.compress((text.rstrip("\n") + "\n").encode(), 6))
    file = root / "raw/node-feat.csv.gz"
    megabytes = len(tables["raw/node-feat"]) / 1e6
    _, seconds = timed(lambda: subprocess.run([GSPLIT, "import", "--format", "ogb", root, "--out", work / "outf"],
                                              check=True, stdout=subprocess.DEVNULL))
    expected, numpy_seconds = timed(lambda: np.loadtxt(file, delimiter=",", dtype=np.float32))
    assert np.array_equal(np.load(work / "outf" / "feat.npy"), expected)
    for by, time_taken in (("gsplit", seconds), ("numpy.loadtxt", numpy_seconds)):
        print(json.dumps({"what": file.name, "by": by, "seconds": round(time_taken, 2),
                          "M_values_s": round(rows * width / time_taken / 1e6, 2),
                          "text_MB_s": round(megabytes / time_taken, 1)}), flush=True)


def main():
    """Runs all of it in a directory that is removed again."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--edges", type=int, default=10_000_000)
    parser.add_argument("--work", type=pathlib.Path, default=None)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=options.work) as name:
        work = pathlib.Path(name)
        nodes, ends, lists = make_lists(work, options.edges)
        compare_readers(work, nodes, ends, lists)
        compare_dedup(work, nodes, ends, lists[0])
        compare_features(work)


if __name__ == "__main__":
    main()
