#!/usr/bin/env python3
"""Converts a node-property dataset in OGB's csv layout to the GraphBolt layout that gsplit reads (docs/formats.md).

  ogb_to_graphbolt.py INPUT OUT [--split NAME] [--reverse-edges] [--dedup] [--drop-self-loops]

INPUT holds csv files without a header, each plain or with .gz behind its name:

  raw/edge.csv             E lines "source,destination"
  raw/node-feat.csv        N lines of F numbers
  raw/node-label.csv       N lines of one class each; nan: unlabelled
  raw/num-node-list.csv    one line, N
  split/NAME/{train,valid,test}.csv    one node a line

OUT must not exist. Edges keep their order; --reverse-edges puts all (v, u) behind all (u, v), --dedup then keeps the first of
equal edges and leaves the others out. Needs NumPy alone. Exit code 2 where the input is not as described.
"""

import argparse
import gzip
import pathlib
import shutil
import sys

import numpy as np

SPLITS = {"train": "train_set", "valid": "validation_set", "test": "test_set"}


class BadInput(Exception):
    """What is wrong with which file."""


def read_csv(path, dtype, columns=1):
    """A csv file as a (rows, columns) array; of `columns` where it is empty, else of as many as it has."""
    packed = path.with_name(path.name + ".gz")
    found = packed if packed.exists() else path
    try:
        with (gzip.open if found == packed else open)(found, "rt", encoding="ascii") as file:
            lines = file.readlines()
        return np.loadtxt(lines, delimiter=",", dtype=dtype, ndmin=2) if lines else np.empty((0, columns), dtype)
    except (OSError, EOFError, ValueError) as error:
        raise BadInput(f"{found}: {error}") from error


def read_edges(raw, num_nodes, options):
    """(2, E): sources, destinations."""
    edges = read_csv(raw / "edge.csv", np.int64, columns=2).T
    if edges.shape[0] != 2 or edges.size and not 0 <= edges.min() <= edges.max() < num_nodes:
        raise BadInput(f"{raw / 'edge.csv'}: not two columns of nodes below {num_nodes}")
    if options.reverse_edges:
        edges = np.concatenate([edges, edges[::-1]], axis=1)
    if options.drop_self_loops:
        edges = edges[:, edges[0] != edges[1]]
    if options.dedup:
        _, first = np.unique(edges[0] * num_nodes + edges[1], return_index=True)
        edges = edges[:, np.sort(first)]
    return np.ascontiguousarray(edges)


def read_splits(folder, labels):
    """{split: (nodes, their classes)}."""
    splits = {}
    for name in SPLITS:
        nodes = read_csv(folder / f"{name}.csv", np.int64)[:, 0]
        if nodes.size and not 0 <= nodes.min() <= nodes.max() < len(labels):
            raise BadInput(f"{folder / name}.csv: nodes outside 0 .. {len(labels) - 1}")
        if np.isnan(labels[nodes]).any():
            raise BadInput(f"{folder / name}.csv: nodes without a label")
        splits[name] = nodes, labels[nodes].astype(np.int64)
    return splits


def metadata(name, num_nodes, num_classes):
    """metadata.yaml."""
    lines = [f"dataset_name: {name}", "graph:", "  nodes:", f"    - num: {num_nodes}", "  edges:",
             "    - format: numpy", "      path: edges.npy", "feature_data:", "  - domain: node", "    name: feat",
             "    format: numpy", "    path: feat.npy", "tasks:", "  - name: node_classification",
             f"    num_classes: {num_classes}"]
    for split, key in SPLITS.items():
        lines += [f"    {key}:", "      - data:"]
        for kind in ("seeds", "labels"):
            lines += [f"          - name: {kind}", "            format: numpy", f"            path: {split}_{kind}.npy"]
    return "\n".join(lines) + "\n"


def convert(options):
    """Writes options.out, under a name that begins with a dot until it is complete."""
    raw, out = options.input / "raw", options.out
    if out.exists():
        raise BadInput(f"{out} exists: give another OUT")
    counts = read_csv(raw / "num-node-list.csv", np.int64)
    if counts.shape != (1, 1):
        raise BadInput(f"{raw / 'num-node-list.csv'}: not one number; this is for datasets of one graph")
    num_nodes = int(counts[0, 0])
    features = read_csv(raw / "node-feat.csv", np.float32)
    labels = read_csv(raw / "node-label.csv", np.float64)
    if features.shape[0] != num_nodes or labels.shape != (num_nodes, 1):
        raise BadInput(f"{raw}: node-feat.csv or node-label.csv do not have a line for each of {num_nodes} nodes")
    labels = labels[:, 0]
    if np.isnan(labels).all():
        raise BadInput(f"{raw / 'node-label.csv'}: no node has a label")
    edges = read_edges(raw, num_nodes, options)
    splits = read_splits(options.input / "split" / options.split, labels)
    num_classes = int(np.nanmax(labels)) + 1

    draft = out.with_name("." + out.name)
    shutil.rmtree(draft, ignore_errors=True)
    draft.mkdir(parents=True)
    np.save(draft / "edges.npy", edges.astype(np.int32 if num_nodes < 2**31 else np.int64))
    np.save(draft / "feat.npy", features)
    for name, (nodes, classes) in splits.items():
        np.save(draft / f"{name}_seeds.npy", nodes)
        np.save(draft / f"{name}_labels.npy", classes)
    (draft / "metadata.yaml").write_text(metadata(out.name, num_nodes, num_classes), encoding="utf-8")
    draft.rename(out)
    sizes = "/".join(str(len(nodes)) for nodes, _ in splits.values())
    print(f"{out}: {num_nodes} nodes, {edges.shape[1]} edges, {features.shape[1]} features, {num_classes} classes, "
          f"{sizes} training/validation/test nodes")


def main():
    """The command."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("input", type=pathlib.Path)
    parser.add_argument("out", type=pathlib.Path)
    parser.add_argument("--split", default="public", help="folder under split/ (public)")
    parser.add_argument("--reverse-edges", action="store_true", help="add (v, u) for each (u, v)")
    parser.add_argument("--dedup", action="store_true", help="keep one of equal edges")
    parser.add_argument("--drop-self-loops", action="store_true", help="leave out edges from a node to itself")
    try:
        convert(parser.parse_args())
    except BadInput as error:
        print(f"ogb_to_graphbolt: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
