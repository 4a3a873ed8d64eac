#!/usr/bin/env python3
"""PyTorch Geometric on a GPU, over blocks that gsplit drew: GraphSAGE's forward, loss, backward and Adam, and nothing else.

  pyg_gpu.py DATASET --init FILE                                     writes initial weights as safetensors under PyG's names
  gsplit train DATASET --init-from FILE --dropout 0 --dump-blocks BLOCKS --max-steps 4 ...
  pyg_gpu.py DATASET --init FILE --blocks BLOCKS                     prints one JSON object

The object has the loss of each step of the dump, to be compared with gsplit's (same blocks, same weights, no dropout), and the median
seconds of a step. What a run of PyG needs beside it, sampling and bringing features and blocks to the GPU, is done beforehand and not timed:
all features lie in the GPU's memory, and the blocks too. So the time is a lower bound of a step in PyG.

`example`: SAGEConv over edge_index, as in PyG's examples. `tuned`: over a CSR matrix, by torch.sparse.mm.
"""

import argparse
import itertools
import json
import pathlib
import statistics
import time

import numpy as np
import torch
import torch.nn.functional as F
import yaml
from safetensors.torch import load_file, save_file
from torch_geometric.nn import SAGEConv

WARM_UP = 5


def parse_arguments():
    parser = argparse.ArgumentParser(description="times PyG's training step on a GPU")
    parser.add_argument("dataset", type=pathlib.Path)
    parser.add_argument("--init", type=pathlib.Path, required=True, metavar="FILE")
    parser.add_argument("--blocks", type=pathlib.Path)
    parser.add_argument("--setting", choices=["example", "tuned"], default="tuned")
    parser.add_argument("--precision", choices=["fp32", "bf16"], default="fp32")
    parser.add_argument("--layers", type=int, default=3)
    parser.add_argument("--hidden", type=int, default=256)
    parser.add_argument("--dropout", type=float, default=0.5, help="of the timed steps")
    parser.add_argument("--lr", type=float, default=0.003)
    parser.add_argument("--steps", type=int, default=40, help="timed ones")
    parser.add_argument("--device", default="cuda")
    return parser.parse_args()


class Dataset:
    """Features of all nodes, labels of the training nodes, on the device."""

    def __init__(self, folder, device):
        metadata = yaml.safe_load((folder / "metadata.yaml").read_text(encoding="utf-8"))
        task = metadata["tasks"][0]
        self.num_classes = task["num_classes"]
        paths = {item["name"]: folder / item["path"] for item in task["train_set"][0]["data"]}
        seeds = torch.from_numpy(np.load(paths["seeds"]).astype(np.int64))
        labels = torch.full((metadata["graph"]["nodes"][0]["num"],), -1)
        labels[seeds] = torch.from_numpy(np.load(paths["labels"]).astype(np.int64).reshape(-1))
        self.labels = labels.to(device)
        self.features = torch.from_numpy(np.load(folder / metadata["feature_data"][0]["path"])).float().to(device)


class Sample:
    """The blocks of a step; edges[0] are the input layer's. Destinations are the first rows of a layer's sources."""

    def __init__(self, layers, device):
        """`layers`: by number, 1 reading the input, the destinations and the sources of each."""
        self.nodes = None
        self.edges, self.sizes = [], []
        for number in sorted(layers, reverse=True):
            destinations, lists = layers[number]
            nodes = np.array(destinations) if self.nodes is None else self.nodes
            place = {node: i for i, node in enumerate(nodes.tolist())}
            rows, columns = [], []
            for node, sources in zip(destinations, lists):
                for source in sources:
                    columns.append(place.setdefault(source, len(place)))
                rows.extend([place[node]] * len(sources))
            order = np.argsort(rows, kind="stable")
            edge_index = np.stack([np.array(columns, np.int64)[order], np.array(rows, np.int64)[order]])
            self.sizes.insert(0, len(nodes))
            self.edges.insert(0, torch.from_numpy(edge_index).to(device))
            self.nodes = np.fromiter(place.keys(), np.int64, len(place))
            if number == max(layers):
                self.seeds = torch.from_numpy(nodes).to(device)
        self.input_nodes = torch.from_numpy(self.nodes).to(device)

    @property
    def num_edges(self):
        return sum(edge_index.shape[1] for edge_index in self.edges)


def read_samples(path, device):
    """Those of a --dump-blocks file, in order."""
    steps = {}
    with open(path, encoding="utf-8") as lines:
        for line in lines:
            step, layer, destination, *sources = map(int, line.split())
            destinations, lists = steps.setdefault(step, {}).setdefault(layer, ([], []))
            destinations.append(destination)
            lists.append(sources)
    return [Sample(steps[step], device) for step in sorted(steps)]


def adjacency(edge_index, num_rows, num_columns, dtype):
    sources, destinations = edge_index
    pointers = torch.zeros(num_rows + 1, dtype=torch.int64, device=edge_index.device)
    torch.cumsum(torch.bincount(destinations, minlength=num_rows), 0, out=pointers[1:])
    values = torch.ones(len(sources), dtype=dtype, device=edge_index.device)
    return torch.sparse_csr_tensor(pointers, sources, values, (num_rows, num_columns))


class Model(torch.nn.Module):
    def __init__(self, arguments, dataset):
        super().__init__()
        widths = [dataset.features.shape[1]] + [arguments.hidden] * (arguments.layers - 1) + [dataset.num_classes]
        self.convs = torch.nn.ModuleList(SAGEConv(a, b) for a, b in zip(widths[:-1], widths[1:]))

    def forward(self, rows, edges, sizes, dropout):
        for layer, (conv, edge) in enumerate(zip(self.convs, edges)):
            size = None if edge.layout == torch.sparse_csr else (len(rows), sizes[layer])
            rows = conv((rows, rows[: sizes[layer]]), edge, size=size)
            if layer + 1 < len(self.convs):
                rows = F.dropout(F.relu(rows), dropout)
        return rows


class Trainer:
    """One model and its optimizer, over prepared samples."""

    def __init__(self, arguments, dataset, samples):
        self.dataset = dataset
        dtype = torch.bfloat16 if arguments.precision == "bf16" else torch.float32
        self.features = dataset.features.to(dtype)
        self.model = Model(arguments, dataset)
        self.model.load_state_dict(load_file(arguments.init))
        self.model.to(dataset.features.device, dtype)
        self.optimizer = torch.optim.Adam(self.model.parameters(), lr=arguments.lr)
        self.batches = [(sample, self.operands(sample, arguments.setting, dtype)) for sample in samples]

    @staticmethod
    def operands(sample, setting, dtype):
        if setting == "example":
            return sample.edges
        columns = [len(sample.input_nodes), *sample.sizes[:-1]]
        return [adjacency(edge, rows, width, dtype) for edge, rows, width in zip(sample.edges, sample.sizes, columns)]

    def step(self, number, dropout):
        sample, edges = self.batches[number % len(self.batches)]
        logits = self.model(self.features[sample.input_nodes], edges, sample.sizes, dropout)
        loss = F.cross_entropy(logits.float(), self.dataset.labels[sample.seeds])
        self.optimizer.zero_grad()
        loss.backward()
        self.optimizer.step()
        return loss


def synchronize(device):
    if device.startswith("cuda"):
        torch.cuda.synchronize()


def main():
    arguments = parse_arguments()
    torch.manual_seed(0)
    dataset = Dataset(arguments.dataset, arguments.device)
    if not arguments.blocks:
        save_file({name: tensor.contiguous() for name, tensor in Model(arguments, dataset).state_dict().items()}, arguments.init)
        return
    samples = read_samples(arguments.blocks, arguments.device)
    trainer = Trainer(arguments, dataset, samples)
    losses = [trainer.step(i, 0.0).item() for i in range(len(samples))]
    seconds = []
    for i in itertools.islice(itertools.count(), WARM_UP + arguments.steps):
        synchronize(arguments.device)
        start = time.perf_counter()
        trainer.step(i, arguments.dropout)
        synchronize(arguments.device)
        seconds.append(time.perf_counter() - start)
    print(json.dumps({"losses": losses, "step_s": statistics.median(seconds[WARM_UP:]), "edges": samples[0].num_edges,
                      "input_rows": len(samples[0].input_nodes), "torch": torch.__version__}))


if __name__ == "__main__":
    main()
