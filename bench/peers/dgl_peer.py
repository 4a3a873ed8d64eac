#!/usr/bin/env python3
"""DGL with GraphBolt as a peer (peer.py says what a peer is). `example`: as dgl/examples/graphbolt/node_classification.py.

`tuned` differs in its allocator, in dropout and in int32 indices.
"""

import dataclasses

import dgl
import dgl.graphbolt as gb
import dgl.nn
import numpy as np
import peer
import torch
import torch.nn.functional as F


@dataclasses.dataclass
class Sample:
    blocks: list
    input_nodes: torch.Tensor
    seeds: torch.Tensor

    @property
    def num_edges(self):
        return sum(block.num_edges() for block in self.blocks)


class Batches:
    """GraphBolt's sampler."""

    def __init__(self, arguments, dataset):
        graph = gb.fused_csc_sampling_graph(dataset.indptr, dataset.indices)
        items = gb.ItemSet(dataset.seeds.to(dataset.indices.dtype), names="seed_nodes")
        whole = arguments.check is not None
        pipe = gb.ItemSampler(items, len(dataset.seeds) if whole else arguments.batch_size, shuffle=not whole, drop_last=not whole)
        # GraphBolt lists the fanout nearest the seeds last.
        self.pipe = pipe.sample_neighbor(graph, arguments.fanout[::-1])
        self.self_edges = whole and arguments.model == "gat"

    def __iter__(self):
        for batch in self.pipe:
            blocks = batch.blocks
            if self.self_edges:
                blocks = [with_self_edges(block) for block in blocks]
            yield Sample(blocks, batch.input_nodes.long(), batch.seed_nodes.long())


def with_self_edges(block):
    """One (i, i) for each destination in place of its own: PyG's and gsplit's GAT add them, DGL's does not. In the check alone:
    timed runs go without, to DGL's advantage."""
    sources, destinations = block.edges()
    keep = sources != destinations
    own = torch.arange(block.num_dst_nodes(), dtype=sources.dtype)
    return dgl.create_block((torch.cat([sources[keep], own]), torch.cat([destinations[keep], own])),
                            num_src_nodes=block.num_src_nodes(), num_dst_nodes=block.num_dst_nodes())


class Model(torch.nn.Module):
    def __init__(self, arguments, dataset):
        super().__init__()
        self.is_gat = arguments.model == "gat"
        self.dropout = peer.make_dropout(arguments)
        self.convs = torch.nn.ModuleList()
        sizes = peer.layer_sizes(arguments, dataset)
        for layer, (width_in, width_out) in enumerate(sizes):
            if self.is_gat:
                last = layer + 1 == len(sizes)
                width = width_out if last else width_out // arguments.heads
                self.convs.append(dgl.nn.GATConv(width_in, width, arguments.heads, allow_zero_in_degree=True))
            else:
                self.convs.append(dgl.nn.SAGEConv(width_in, width_out, "mean"))

    def forward(self, sample, rows):
        for layer, (conv, block) in enumerate(zip(self.convs, sample.blocks)):
            last = layer + 1 == len(self.convs)
            rows = conv(block, rows)
            if self.is_gat:
                rows = rows.mean(1) if last else rows.flatten(1)
            if not last:
                rows = self.dropout(F.elu(rows) if self.is_gat else F.relu(rows))
        return rows


def pyg_weights(model):
    """A last GAT layer's bias is averaged over the heads, as its rows are."""
    tensors = {}
    for layer, conv in enumerate(model.convs):
        name = f"convs.{layer}."
        if model.is_gat:
            heads = conv.attn_l.shape[1]
            last = layer + 1 == len(model.convs)
            tensors[name + "lin.weight"] = conv.fc.weight
            tensors[name + "att_src"] = conv.attn_l
            tensors[name + "att_dst"] = conv.attn_r
            tensors[name + "bias"] = conv.bias.view(heads, -1).mean(0) if last else conv.bias
        else:
            tensors[name + "lin_l.weight"] = conv.fc_neigh.weight
            tensors[name + "lin_l.bias"] = conv.fc_self.bias
            tensors[name + "lin_r.weight"] = conv.fc_self.weight
    return tensors


def main():
    arguments = peer.parse_arguments()
    dataset = peer.Dataset(arguments.dataset, arguments.precision, np.int32 if arguments.setting == "tuned" else np.int64)
    model = Model(arguments, dataset)
    if arguments.precision == "bf16":
        model = model.to(torch.bfloat16)
    peer.run(arguments, dataset, Batches(arguments, dataset), model, model, pyg_weights)


if __name__ == "__main__":
    main()
