"""The code block of docs/pyg.md, executed on fresh runs: PyG with our weights predicts what `gsplit infer` does.

Exits with 77 where PyTorch Geometric or safetensors is missing.
"""

import re
import shutil
import sys
import unittest
import warnings

import harness
import numpy as np

try:
    warnings.filterwarnings("ignore", category=FutureWarning)
    import torch
    import torch_geometric  # noqa: F401
    from safetensors.torch import save_file
except ImportError as missing:
    print(f"skipped: {missing}; docs/pyg.md needs torch, torch_geometric and safetensors")
    sys.exit(77)

FEATURES, HIDDEN, CLASSES, HEADS = 12, 16, 5, 4
NORM = {"norm": "layer_norm", "norm_kwargs": {"mode": "node"}}


def documented():
    """What the one Python block of docs/pyg.md defines."""
    blocks = re.findall(r"^```python\n(.*?)^```$", (harness.SOURCE / "docs" / "pyg.md").read_text(encoding="utf-8"),
                        re.MULTILINE | re.DOTALL)
    assert len(blocks) == 1, "docs/pyg.md has one Python block"
    scope = {}
    exec(compile(blocks[0], "docs/pyg.md", "exec"), scope)  # pylint: disable=exec-used
    return scope


class PyG(harness.Scratch):
    """Weights there and back."""

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        torch.set_num_threads(1)
        cls.documented = documented()
        cls.dataset = cls.generate("graph", nodes=3000, degree=12, features=FEATURES, classes=CLASSES)
        # Loops, a parallel edge, and nodes without in-neighbours are read alike, too.
        edges = np.load(cls.dataset / "edges.npy")
        edges = edges[:, ~np.isin(edges[1], [5, 6, 7])]
        more = np.array([[1, 2, 6, 9, 10], [1, 2, 6, 10, 9]], edges.dtype)
        np.save(cls.dataset / "edges.npy", np.concatenate([edges, more, edges[:, :3]], axis=1))

        # Row normalisation is for counts: negative features would leave the rows all but equal.
        cls.counts = cls.scratch / "counts"
        shutil.copytree(cls.dataset, cls.counts)
        np.save(cls.counts / "feat.npy", np.maximum(np.load(cls.counts / "feat.npy"), 0))

    def trained(self, model, *arguments, dataset=None):
        return self.train(dataset or self.dataset, "--model", model, "--hidden", HIDDEN, "--heads", HEADS,
                          "--fanout", "8,5,4", "--lr", 0.01, "--epochs", 8, "--batch-size", 100, "--workers", 2, *arguments)

    def inferred(self, run_dir, dataset=None):
        """Classes and last hidden rows, by gsplit."""
        out, embeddings = self.scratch / "classes.npy", self.scratch / "embeddings.npy"
        self.must("infer", run_dir, dataset or self.dataset, "--out", out, "--embeddings", embeddings)
        return np.load(out), np.load(embeddings)

    def compare(self, run_dir, kind, dataset=None, normalize=False, **options):
        data = self.documented["read_graph"](dataset or self.dataset, normalize)
        model = self.documented["read_model"](run_dir, kind, FEATURES, HIDDEN, 3, CLASSES, heads=HEADS, **options)
        hidden = []
        model.convs[-1].register_forward_pre_hook(lambda _, inputs: hidden.append(inputs[0].numpy().copy()))
        theirs = self.documented["predict"](model, data)
        ours, embeddings = self.inferred(run_dir, dataset)
        self.assertGreaterEqual(len(np.unique(ours)), 3)
        difference = np.linalg.norm(hidden[0] - embeddings) / np.linalg.norm(embeddings)
        equal = (ours == theirs).mean()
        print(f"{kind}{' rows normalised' * normalize}{' layer norm' * bool(options)}: {100 * equal:.2f} % of the classes equal, "
              f"hidden rows differ by {difference:.1e}", flush=True)
        self.assertGreaterEqual(equal, 0.995)
        self.assertLess(difference, 1e-5)

    def test_predicts_the_same(self):
        for kind in ("sage", "gcn", "gat", "gin"):
            with self.subTest(kind=kind):
                self.compare(self.trained(kind, "--attn-dropout", 0.2), kind)

    def test_predicts_the_same_from_normalised_rows(self):
        row = ["--normalize-features", "row", "--input-dropout", 0.1, "--lr", 0.05, "--epochs", 40]
        for kind in ("gcn", "gat"):
            with self.subTest(kind=kind):
                run_dir = self.trained(kind, *row, dataset=self.counts)
                self.compare(run_dir, kind, dataset=self.counts, normalize=True)

    def test_predicts_the_same_with_layer_norm(self):
        for kind in ("sage", "gcn", "gat"):
            with self.subTest(kind=kind):
                self.compare(self.trained(kind, "--norm", "layer"), kind, **NORM)

    def test_init_from_takes_what_pyg_wrote(self):
        model = self.documented["MODELS"]["gcn"](FEATURES, HIDDEN, 3, CLASSES, heads=HEADS)
        path = self.scratch / "pyg.safetensors"
        save_file(model.state_dict(), path)
        run_dir = self.trained("gcn", "--init-from", path, "--lr", 0)
        classes = self.documented["predict"](model.eval(), self.documented["read_graph"](self.dataset))
        self.assertGreaterEqual((self.inferred(run_dir)[0] == classes).mean(), 0.995)


if __name__ == "__main__":
    unittest.main()
