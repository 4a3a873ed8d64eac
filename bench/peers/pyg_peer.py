#!/usr/bin/env python3
"""PyTorch Geometric as a peer (peer.py says what a peer is).

`example`: NeighborLoader, and the layers over what is still needed of the subgraph (trim_to_layer). `tuned`: each layer over a
bipartite graph, so that no row is computed that nobody reads; SAGE aggregates by torch.sparse.mm over CSR.
PyG samples a hop for the nodes that are new in it alone, so its steps have fewer edges and input rows than ours and DGL's.
"""

import dataclasses
import warnings

import numpy as np
import peer
import torch
import torch.nn.functional as F
from torch_geometric.data import Data
from torch_geometric.loader import NeighborLoader
from torch_geometric.nn import GATConv, SAGEConv
from torch_geometric.utils import index_sort

warnings.filterwarnings("ignore")


@dataclasses.dataclass
class Sample:
    """edges[0] are the input layer's; sources are rows of its input, destinations of its output."""

    input_nodes: torch.Tensor
    seeds: torch.Tensor
    edges: list
    sizes: list  # of rows: input, after the first layer, ..., seeds

    @property
    def num_edges(self):
        return sum(edge_index.shape[1] for edge_index in self.edges)


class Batches:
    """NeighborLoader's samples, cut into layers."""

    def __init__(self, arguments, dataset):
        sources = dataset.indices
        destinations = torch.repeat_interleave(torch.arange(dataset.num_nodes), dataset.indptr.diff())
        whole = arguments.check is not None
        self.num_layers = len(arguments.fanout)
        self.loader = NeighborLoader(
            Data(edge_index=torch.stack([sources, destinations]), num_nodes=dataset.num_nodes),
            num_neighbors=arguments.fanout,
            input_nodes=dataset.seeds,
            batch_size=len(dataset.seeds) if whole else arguments.batch_size,
            shuffle=not whole,
            drop_last=not whole,
            is_sorted=True,
        )

    def __iter__(self):
        for batch in self.loader:
            yield self._cut(batch)

    def _cut(self, batch):
        """Edges stand hop by hop; the nodes of hop h are rows [sizes[h - 1], sizes[h]), found by its edges' sources."""
        sources, destinations = batch.edge_index
        sizes, ends = [batch.batch_size], []
        for _ in range(self.num_layers):
            ends.append(int((destinations < sizes[-1]).sum()))
            sizes.append(max(sizes[-1], int(sources[: ends[-1]].max()) + 1 if ends[-1] else 0))
        edges = [batch.edge_index[:, :end] for end in reversed(ends)]
        return Sample(batch.n_id, batch.n_id[: batch.batch_size], edges, sizes[::-1])


class Model(torch.nn.Module):
    def __init__(self, arguments, dataset):
        super().__init__()
        self.is_gat = arguments.model == "gat"
        self.is_tuned = arguments.setting == "tuned"
        self.dropout = peer.make_dropout(arguments)
        self.convs = torch.nn.ModuleList()
        sizes = peer.layer_sizes(arguments, dataset)
        for layer, (width_in, width_out) in enumerate(sizes):
            last = layer + 1 == len(sizes)
            if self.is_gat:
                width = width_out if last else width_out // arguments.heads
                self.convs.append(GATConv(width_in, width, arguments.heads, concat=not last))
            else:
                self.convs.append(SAGEConv(width_in, width_out))

    def forward(self, sample, rows):
        for layer, (conv, edge_index) in enumerate(zip(self.convs, sample.edges)):
            outputs = sample.sizes[layer + 1]
            if not self.is_tuned:
                rows = conv(rows, edge_index)[:outputs]
            elif self.is_gat:
                rows = conv((rows, rows[:outputs]), edge_index, size=(len(rows), outputs))
            else:
                rows = conv((rows, rows[:outputs]), as_csr(edge_index, outputs, rows))
            if layer + 1 < len(self.convs):
                rows = self.dropout(F.elu(rows) if self.is_gat else F.relu(rows))
        return rows


def as_csr(edge_index, num_rows, rows):
    """The transposed adjacency matrix."""
    sources, destinations = edge_index
    if not bool((destinations[1:] >= destinations[:-1]).all()):
        destinations, order = index_sort(destinations, num_rows)
        sources = sources[order]
    pointers = torch.zeros(num_rows + 1, dtype=torch.int64)
    torch.cumsum(torch.bincount(destinations, minlength=num_rows), 0, out=pointers[1:])
    return torch.sparse_csr_tensor(pointers, sources, torch.ones(len(sources), dtype=rows.dtype), (num_rows, len(rows)))


def main():
    arguments = peer.parse_arguments()
    dataset = peer.Dataset(arguments.dataset, arguments.precision, np.int64)
    model = Model(arguments, dataset)
    if arguments.precision == "bf16":
        model = model.to(torch.bfloat16)
    peer.run(arguments, dataset, Batches(arguments, dataset), model, model, lambda m: dict(m.named_parameters()))


if __name__ == "__main__":
    main()
