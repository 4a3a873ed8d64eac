#!/usr/bin/env python3
"""Writes what PyTorch Geometric computes for small models on a small graph, as safetensors.

  make_golden.py            writes one file per case beside this script
  make_golden.py --check    computes everything again and compares it with the files; exits 77
                            where PyTorch Geometric is not installed

README.md in this folder says what the files hold.
"""

import argparse
import os
import sys
import warnings
from pathlib import Path

try:
    warnings.filterwarnings("ignore", category=FutureWarning)
    import torch
    import torch_geometric
    from safetensors.torch import load_file, save_file
    from torch_geometric.nn.models import GAT, GCN, GIN, GraphSAGE
except ImportError as missing:
    print(f"skipped: {missing}; install torch, torch_geometric and safetensors to run this")
    sys.exit(77)

FOLDER = Path(__file__).parent
NODES, EDGES, FEATURES, HIDDEN, CLASSES, TRAIN_NODES = 60, 400, 12, 16, 5, 20
ISOLATED_NODES, SELF_LOOPS = 3, 6
# Values written on one machine and computed on another differ by the order of fp32 sums.
TOLERANCE = 1e-5

CASES = {
    "sage_2": (GraphSAGE, 2, {"aggr": "mean"}),
    "sage_3": (GraphSAGE, 3, {"aggr": "mean"}),
    "gcn_2": (GCN, 2, {}),
    "gcn_3": (GCN, 3, {}),
    "gat_2": (GAT, 2, {"heads": 4, "act": "elu"}),
    "gat_3": (GAT, 3, {"heads": 4, "act": "elu"}),
    "gin_2": (GIN, 2, {}),
    "gin_3": (GIN, 3, {}),
    "gcn_weighted_2": (GCN, 2, {}),
}


def random_edges(generator: torch.Generator) -> torch.Tensor:
    """(2, EDGES) distinct directed edges: sources, destinations. The last nodes have none at all."""
    connected = NODES - ISOLATED_NODES
    loops = torch.randperm(connected, generator=generator)[:SELF_LOOPS]
    pairs = torch.randperm(connected * connected, generator=generator)
    source, destination = pairs // connected, pairs % connected
    others = (source != destination).nonzero().flatten()[: EDGES - SELF_LOOPS]
    edges = torch.stack(
        [torch.cat([source[others], loops]), torch.cat([destination[others], loops])]
    )
    return edges[:, torch.randperm(EDGES, generator=generator)]


def make_inputs() -> dict[str, torch.Tensor]:
    generator = torch.Generator().manual_seed(1)
    return {
        "edge_index": random_edges(generator),
        "x": torch.randn(NODES, FEATURES, generator=generator),
        "labels": torch.randint(CLASSES, (NODES,), generator=generator),
        # Two of them isolated, so that these count in loss and gradients.
        "train_nodes": torch.cat(
            [
                torch.randperm(NODES - ISOLATED_NODES, generator=generator)[: TRAIN_NODES - 2],
                torch.arange(NODES - 2, NODES),
            ]
        ),
    }


def make_edge_weights() -> torch.Tensor:
    """(EDGES) in [0, 2), the first 20 of them 0."""
    generator = torch.Generator().manual_seed(3)
    weights = 2 * torch.rand(EDGES, generator=generator)
    weights[:20] = 0
    return weights


def make_model(name: str) -> torch.nn.Module:
    kind, layers, options = CASES[name]
    torch.manual_seed(2)
    model = kind(FEATURES, HIDDEN, num_layers=layers, out_channels=CLASSES, dropout=0.0, **options)
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.dim() == 1:  # biases begin at zero: without noise nothing tests them
                parameter.uniform_(-0.1, 0.1)
    return model


def compute(name: str) -> dict[str, torch.Tensor]:
    inputs, model = make_inputs(), make_model(name)
    weights = {key: tensor.clone() for key, tensor in model.state_dict().items()}
    model.eval()
    edges, options = inputs["edge_index"], {}
    if "weighted" in name:
        inputs["edge_weight"] = make_edge_weights()
        # Ours drops self-loops before it adds one of weight 1; PyG would let them keep their weights.
        kept = edges[0] != edges[1]
        edges, options = edges[:, kept], {"edge_weight": inputs["edge_weight"][kept]}
    logits = model(inputs["x"], edges, **options)
    nodes = inputs["train_nodes"]
    loss = torch.nn.functional.cross_entropy(logits[nodes], inputs["labels"][nodes])
    loss.backward()
    gradients = {f"{key}.grad": value.grad for key, value in model.named_parameters()}
    return inputs | weights | gradients | {"logits": logits.detach(), "loss": loss.detach()}


def versions() -> dict[str, str]:
    return {"torch": torch.__version__, "torch_geometric": torch_geometric.__version__}


def write(name: str) -> None:
    file = FOLDER / f"{name}.safetensors"
    hidden = file.with_name("." + file.name)
    tensors = {key: tensor.contiguous() for key, tensor in compute(name).items()}
    save_file(tensors, hidden, metadata=versions())
    hidden.chmod(0o644)  # save_file leaves it to its owner alone
    os.replace(hidden, file)
    print(f"{file.name}: {len(tensors)} tensors, {file.stat().st_size} bytes")


def difference(found: torch.Tensor, expected: torch.Tensor) -> float:
    """Relative norm; infinite where types or shapes differ, or integers are not equal."""
    if found.dtype != expected.dtype or found.shape != expected.shape:
        return float("inf")
    if not found.is_floating_point():
        return 0.0 if torch.equal(found, expected) else float("inf")
    scale = max(float(expected.double().norm()), 1e-12)
    return float((found.double() - expected.double()).norm()) / scale


def check(name: str) -> bool:
    found, expected = compute(name), load_file(FOLDER / f"{name}.safetensors")
    if found.keys() != expected.keys():
        print(f"{name}: tensors differ by name: {sorted(found.keys() ^ expected.keys())}")
        return False
    worst = max(found, key=lambda key: difference(found[key], expected[key]))
    error = difference(found[worst], expected[worst])
    print(f"{name}: {len(found)} tensors, largest relative difference {error:.1e} in {worst}")
    return error <= TOLERANCE


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--check", action="store_true", help="compare instead of writing")
    torch.set_num_threads(1)
    if parser.parse_args().check:
        return 0 if all([check(name) for name in CASES]) else 1
    for name in CASES:
        write(name)
    return 0


if __name__ == "__main__":
    sys.exit(main())
