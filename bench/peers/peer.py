"""What the peers share: arguments, the dataset, the loop that times a step's stages, dropout, weights under PyG's names.

A peer is a program `*_peer.py DATASET ...` that trains by sampled mini-batches in another system and prints one JSON
object for each step: {"step", "loss", "edges", "input_rows", "sample_s", "load_s", "compute_s"}. With --check FILE it
writes its initial weights to FILE as safetensors under PyG's names instead, and prints the loss of all training nodes over full
neighbourhoods, without dropout: what `gsplit train --init-from FILE --fanout -1,-1,-1` must find in its first step.

Two settings. `example`: as in the peer's own examples. `tuned`: what an expert would change, each change where it is made;
run it with libtcmalloc_minimal preloaded (compare.py does), since glibc gives the pages of every large tensor back.
"""

import argparse
import json
import pathlib
import time

import numpy as np
import torch
import torch.nn.functional as F
import yaml


def parse_arguments():
    parser = argparse.ArgumentParser(description="trains in another system and times it")
    parser.add_argument("dataset", type=pathlib.Path)
    parser.add_argument("--model", choices=["sage", "gat"], default="sage")
    parser.add_argument("--setting", choices=["example", "tuned"], default="tuned")
    parser.add_argument("--precision", choices=["fp32", "bf16"], default="fp32")
    parser.add_argument("--fanout", default="15,10,5", help="nearest the seeds first")
    parser.add_argument("--batch-size", type=int, default=1024)
    parser.add_argument("--hidden", type=int, default=256)
    parser.add_argument("--heads", type=int, default=4)
    parser.add_argument("--dropout", type=float, default=0.5)
    parser.add_argument("--lr", type=float, default=0.003)
    parser.add_argument("--steps", type=int, default=20)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--check", type=pathlib.Path, metavar="FILE")
    arguments = parser.parse_args()
    arguments.fanout = [int(k) for k in arguments.fanout.split(",")]
    if arguments.check:
        arguments.fanout = [-1] * len(arguments.fanout)
        arguments.dropout = 0
    torch.set_num_threads(arguments.threads)
    torch.manual_seed(arguments.seed)
    return arguments


class Dataset:
    """A dataset directory of gsplit's (docs/formats.md) as tensors, its edges as CSC."""

    def __init__(self, folder, precision, index_type):
        metadata = yaml.safe_load((folder / "metadata.yaml").read_text(encoding="utf-8"))
        self.num_nodes = metadata["graph"]["nodes"][0]["num"]
        task = metadata["tasks"][0]
        self.num_classes = task["num_classes"]
        paths = {item["name"]: folder / item["path"] for item in task["train_set"][0]["data"]}
        self.seeds = torch.from_numpy(np.load(paths["seeds"]).astype(np.int64))
        self.labels = torch.full((self.num_nodes,), -1)
        self.labels[self.seeds] = torch.from_numpy(np.load(paths["labels"]).astype(np.int64).reshape(-1))
        features = torch.from_numpy(np.load(folder / metadata["feature_data"][0]["path"])).float()
        self.features = features.to(torch.bfloat16) if precision == "bf16" else features
        self.indptr, self.indices = self._csc(folder / metadata["graph"]["edges"][0]["path"], index_type)

    def _csc(self, path, index_type):
        sources, destinations = np.load(path, mmap_mode="r")
        order = np.argsort(destinations, kind="stable")
        indptr = np.zeros(self.num_nodes + 1, np.int64)
        np.cumsum(np.bincount(destinations, minlength=self.num_nodes), out=indptr[1:])
        indices = np.ascontiguousarray(sources)[order].astype(index_type)
        return torch.from_numpy(indptr.astype(index_type)), torch.from_numpy(indices)


class BytesDropout:
    """Dropout with masks from random bytes: torch's bernoulli_ is serial. The probability is rounded to 1/256."""

    def __init__(self, probability, seed):
        self.generator = np.random.Generator(np.random.SFC64(seed))
        self.threshold = round(probability * 256)

    def __call__(self, x):
        if self.threshold == 0:
            return x
        mask = torch.frombuffer(bytearray(self.generator.bytes(x.numel())), dtype=torch.uint8) >= self.threshold
        return x * mask.view(x.shape).to(x.dtype).mul_(256 / (256 - self.threshold))


def make_dropout(arguments):
    if arguments.setting == "tuned":
        return BytesDropout(arguments.dropout, arguments.seed)
    return lambda x: F.dropout(x, arguments.dropout, training=True)


def make_optimizer(model, arguments):
    return torch.optim.Adam(model.parameters(), lr=arguments.lr)


def layer_sizes(arguments, dataset):
    """(in, out) of each layer, the input's first; out is of all heads together, or of the classes."""
    widths = [dataset.features.shape[1]] + [arguments.hidden] * (len(arguments.fanout) - 1) + [dataset.num_classes]
    return list(zip(widths[:-1], widths[1:]))


def write_weights(tensors, path):
    from safetensors.torch import save_file  # pylint: disable=import-outside-toplevel

    save_file({name: tensor.detach().float().contiguous() for name, tensor in tensors.items()}, path)


def run(arguments, dataset, batches, forward, model, pyg_weights):
    """`batches` yields samples, each with seeds, input_nodes and num_edges; `forward(sample, input rows)` gives the logits of the
    seeds."""
    if arguments.check:
        write_weights(pyg_weights(model), arguments.check)
        sample = next(iter(batches))
        logits = forward(sample, dataset.features[sample.input_nodes])
        print(json.dumps({"loss": F.cross_entropy(logits.float(), dataset.labels[sample.seeds]).item()}))
        return
    optimizer = make_optimizer(model, arguments)
    step = 0
    while step < arguments.steps:
        iterator = iter(batches)
        while step < arguments.steps:
            times = [time.perf_counter()]
            sample = next(iterator, None)
            if sample is None:
                break
            times.append(time.perf_counter())
            rows = dataset.features[sample.input_nodes]
            labels = dataset.labels[sample.seeds]
            times.append(time.perf_counter())
            loss = F.cross_entropy(forward(sample, rows).float(), labels)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            loss = loss.item()
            times.append(time.perf_counter())
            step += 1
            seconds = dict(zip(["sample_s", "load_s", "compute_s"], np.diff(times).tolist()))
            print(json.dumps({"step": step, "loss": loss, "edges": sample.num_edges,
                              "input_rows": len(sample.input_nodes), **seconds}), flush=True)
