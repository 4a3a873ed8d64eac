"""Edge weights from the dataset to predictions: who uses them, and that nothing else changes."""

import json
import shutil
import unittest

import harness
import numpy as np

# The same parts for datasets that differ in their weights alone: random parts follow from the seed.
SMALL = ["--fanout", "4,3", "--hidden", "16", "--batch-size", "200", "--partition", "random"]


class Weighted(harness.Scratch):
    """One graph unweighted, with random weights, and with weights of 1."""

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.plain = cls.generate("plain", nodes=3000, degree=12, features=8, classes=4)
        cls.edges = np.load(cls.plain / "edges.npy").astype(np.int64)
        count = cls.edges.shape[1]
        weights = np.random.default_rng(5).uniform(0, 2, count)
        weights[::10] = 0
        cls.weighted = cls.with_weights("weighted", weights)
        cls.ones = cls.with_weights("ones", np.ones((count, 1), np.int8), place="graph", name="edge_weight")
        cls.weights = weights.astype(np.float32).astype(np.float64)

    @classmethod
    def with_weights(cls, folder, weights, **where):
        dataset = cls.scratch / folder
        shutil.copytree(cls.plain, dataset)
        harness.add_edge_weights(dataset, weights, **where)
        return dataset

    def fit(self, dataset, *arguments, ranks=None):
        fixed = SMALL if ranks else [*SMALL, "--workers", "2"]
        return self.train(dataset, "--eval-every", 0, *fixed, *arguments, ranks=ranks)

    def curve(self, dataset, *arguments, ranks=None):
        return harness.losses(self.fit(dataset, *arguments, ranks=ranks))


class Curves(Weighted):
    """Losses."""

    def test_fp64_agrees_to_1e_9_for_any_workers_and_partition(self):
        for model in ("sage", "gcn"):
            fixed = ["--precision", "fp64", "--max-steps", 50, "--model", model]
            reference = self.curve(self.weighted, *fixed, "--workers", 1)
            self.assertEqual(len(reference), 50)
            curves = [self.curve(self.weighted, *fixed, "--workers", workers, "--partition", method)
                      for workers, method in ((2, "metis"), (3, "random"), (8, "range"))]
            curves.append(self.curve(self.weighted, *fixed, ranks=4))
            for curve in curves:
                for ours, theirs in zip(curve, reference, strict=True):
                    self.assertLess(abs(ours - theirs), 1e-9, model)

    def test_weights_of_one_change_no_bit(self):
        for model in ("sage", "gcn"):
            # The route is given: weights make the ids of sums longer, so `auto` may choose another with them.
            for route in ("pull", "mixed"):
                fixed = ["--model", model, "--epochs", 2, "--route", route]
                plain = self.curve(self.plain, *fixed)
                self.assertEqual(self.curve(self.ones, *fixed), plain, (model, route))
                self.assertNotEqual(self.curve(self.weighted, *fixed), plain, (model, route))

    def test_threads_change_no_bit(self):
        reference = self.curve(self.weighted, "--epochs", 2, "--threads", 1)
        self.assertEqual(self.curve(self.weighted, "--epochs", 2, "--threads", 3), reference)

    def test_which_edges_are_sampled_does_not_depend_on_weights(self):
        dumps = []
        for dataset in (self.plain, self.weighted):
            self.fit(dataset, "--max-steps", 3, "--dump-blocks", self.scratch / "blocks")
            dumps.append((self.scratch / "blocks").read_bytes())
        self.assertGreater(len(dumps[0]), 1000)
        self.assertEqual(*dumps)


class Sampling(Weighted):
    """--sampler weighted."""

    def dump(self, *arguments, ranks=None):
        path = self.scratch / "blocks"
        self.train(self.weighted, "--max-steps", 3, "--eval-every", 0, *SMALL, "--sampler", "weighted", "--dump-blocks", path,
                   *arguments, ranks=ranks)
        return path.read_bytes()

    def test_blocks_are_equal_for_any_workers_partition_mode_and_transport(self):
        reference = self.dump("--workers", 1)
        for arguments in (["--workers", 2, "--partition", "metis"], ["--workers", 4], ["--mode", "data", "--workers", 3]):
            self.assertEqual(self.dump(*arguments), reference, arguments)
        for ranks in (2, 4):
            self.assertEqual(self.dump(ranks=ranks), reference, ranks)

    def test_edges_of_weight_0_are_never_drawn_and_all_others_by_a_full_fanout(self):
        positive = {}
        for source, target, weight in zip(*self.edges, self.weights, strict=True):
            if weight > 0:
                positive.setdefault(int(target), []).append(int(source))
        for fanout, most in (("4,3", (3, 4)), ("full,3", (3, 10**9))):
            rows = [list(map(int, line.split())) for line in self.dump("--workers", 2, "--fanout", fanout).splitlines()]
            for _, layer, target, *sources in rows:
                candidates = positive.get(target, [])
                self.assertEqual(len(sources), min(most[layer - 1], len(candidates)))
                for source in set(sources):
                    self.assertLessEqual(sources.count(source), candidates.count(source))

    def test_curves_agree_and_aggregation_leaves_the_weights_aside(self):
        fixed = ["--precision", "fp64", "--max-steps", 50, "--sampler", "weighted"]
        for model in ("sage", "gcn"):
            reference = self.curve(self.weighted, *fixed, "--model", model, "--workers", 1)
            curve = self.curve(self.weighted, *fixed, "--model", model, "--workers", 4)
            for ours, theirs in zip(curve, reference, strict=True):
                self.assertLess(abs(ours - theirs), 1e-9, model)
        # All neighbours: without weights of 0 the same as an unweighted graph.
        full = ["--fanout", "full,full", "--max-steps", 3]
        self.assertEqual(self.curve(self.ones, *full, "--sampler", "weighted"), self.curve(self.plain, *full))

    def test_a_dataset_without_weights_is_refused(self):
        for arguments in (["train", self.plain, "--run-dir", self.scratch / "no", *SMALL],
                          ["partition", self.plain, "--parts", 2, "--out", self.scratch / "no-parts"]):
            refused = self.gsplit(*arguments, "--sampler", "weighted")
            self.assertEqual(refused.returncode, 2)
            self.assertIn("--sampler weighted needs edge weights", refused.stderr)
        refused = self.gsplit("train", self.weighted, "--run-dir", self.scratch / "no", "--sampler", "weighted",
                              "--edge-weights", "none")
        self.assertEqual(refused.returncode, 2)
        self.assertFalse((self.scratch / "no-parts").exists())

    def test_sampled_evaluation_and_evaluate_work(self):
        run_dir = self.train(self.weighted, *SMALL, "--epochs", 2, "--sampler", "weighted", "--eval-fanout", "4,3",
                             "--workers", 2)
        self.assertIn("sampler: weighted\n", (run_dir / "config.yaml").read_text(encoding="utf-8"))
        self.must("evaluate", run_dir, self.plain)


class Choices(Weighted):
    """--edge-weights, and the models that have no use for weights."""

    def said(self, *arguments, ranks=None):
        self.runs += 1
        fixed = SMALL if ranks else [*SMALL, "--workers", "2"]
        done = self.must("train", self.weighted, "--run-dir", self.scratch / f"said-{self.runs}", *fixed,
                         "--max-steps", 1, *arguments, ranks=ranks)
        return [line.partition(" ")[2] for line in done.stdout.splitlines() if "edge weights" in line]

    def test_the_log_says_once_what_becomes_of_them(self):
        file = self.weighted / "weights.npy"
        for model in ("sage", "gcn"):
            self.assertEqual(self.said("--model", model), [f"edge weights: {model} uses {file}"])
        for model in ("gat", "gin"):
            self.assertEqual(self.said("--model", model), [f"edge weights: {model} ignores {file}"])
        self.assertEqual(self.said("--edge-weights", "none", ranks=2),
                         [f"edge weights: {file} left aside by --edge-weights none"])

    def test_none_gat_and_gin_compute_without_them(self):
        for arguments in (["--edge-weights", "none"], ["--edge-weights", "none", "--model", "gcn"], ["--model", "gat"],
                          ["--model", "gin"]):
            fixed = ["--max-steps", 5, *arguments]
            self.assertEqual(self.curve(self.weighted, *fixed), self.curve(self.plain, *fixed), arguments)

    def test_config_yaml_carries_the_choice(self):
        for choice in ("auto", "none"):
            first = self.fit(self.weighted, "--epochs", 2, "--edge-weights", choice)
            self.assertIn(f"edge-weights: {choice}\n", (first / "config.yaml").read_text(encoding="utf-8"))
            again = self.scratch / f"again-{choice}"
            self.must("train", "--config", first / "config.yaml", "--run-dir", again)
            self.assertEqual(harness.losses(again), harness.losses(first))


class Outputs(Weighted):
    """Evaluation and inference of one layer, computed by hand."""

    def logits(self, model, weights, tensors):
        """Full-neighbour logits of a one-layer model."""
        x = np.load(self.plain / "feat.npy").astype(np.float64)
        source, target = self.edges
        sums = np.zeros_like(x)
        if model == "sage":
            np.add.at(sums, target, weights[:, None] * x[source])
            mean = sums / np.maximum(np.bincount(target, minlength=len(x)), 1)[:, None]
            return (mean @ tensors["convs.0.lin_l.weight"].T + tensors["convs.0.lin_l.bias"]
                    + x @ tensors["convs.0.lin_r.weight"].T)
        weights = np.where(source == target, 0, weights)
        scale = (np.bincount(target, weights, minlength=len(x)) + 1) ** -0.5
        np.add.at(sums, target, (weights * scale[source])[:, None] * x[source])
        return (scale[:, None] * (sums + scale[:, None] * x)) @ tensors["convs.0.lin.weight"].T + tensors["convs.0.bias"]

    def test_infer_and_evaluate_use_them(self):
        nodes, labels = (np.load(self.plain / f"test_{kind}.npy") for kind in ("seeds", "labels"))
        out = self.scratch / "out.npy"
        for model in ("sage", "gcn"):
            for choice in ("auto", "none"):
                run_dir = self.train(self.weighted, "--fanout", 4, "--model", model, "--epochs", 3, "--lr", 0.05,
                                     "--workers", 2, "--edge-weights", choice)
                weights = self.weights if choice == "auto" else np.ones_like(self.weights)
                other = self.weights if choice == "none" else np.ones_like(self.weights)
                tensors = harness.tensors(run_dir / "checkpoints" / "best" / "model.safetensors")
                expected = self.logits(model, weights, tensors).argmax(1)
                accuracy = (expected[nodes] == labels).mean()
                for workers in (1, 3):
                    self.must("infer", run_dir, self.weighted, "--out", out, "--workers", workers)
                    self.assertGreater((np.load(out) == expected).mean(), 0.999, (model, choice))
                    found = json.loads(self.must("evaluate", run_dir, self.weighted, "--json", "--workers", workers).stdout)
                    self.assertAlmostEqual(found["test_acc"], accuracy, delta=0.005)
                self.assertAlmostEqual(harness.events(run_dir, "run_end")[0]["test_acc"], accuracy, delta=0.005)
                self.assertLess((np.load(out) == self.logits(model, other, tensors).argmax(1)).mean(), 0.99, (model, choice))


class Files(Weighted):
    """gsplit partition and gsplit inspect."""

    def test_a_partition_made_beforehand_is_the_same(self):
        out = self.scratch / "partition"
        self.must("partition", self.weighted, "--parts", 2, "--method", "random", "--out", out)
        info = json.loads((out / "partition.json").read_text(encoding="utf-8"))
        self.assertEqual((info["format_version"], info["edge_weights"]), (2, True))
        self.assertEqual(self.curve(self.weighted, "--max-steps", 3, "--partition", out),
                         self.curve(self.weighted, "--max-steps", 3))
        refused = self.gsplit("train", self.plain, "--run-dir", self.scratch / "no", *SMALL, "--workers", 2, "--partition", out)
        self.assertEqual(refused.returncode, 2)
        self.assertIn("another dataset", refused.stderr)

    def test_inspect_names_and_checks_them(self):
        for dataset, dtype in ((self.plain, "none"), (self.weighted, "f8"), (self.ones, "i1")):
            found = json.loads(self.must("inspect", dataset, "--json", "--verify").stdout)
            self.assertEqual(found["edge_weights"], dtype)
        out = self.scratch / "inspected"
        self.must("partition", self.weighted, "--parts", 2, "--out", out)
        self.assertEqual(json.loads(self.must("inspect", out, "--json", "--verify").stdout)["edge_weights"], "f4")
        weights = np.load(out / "part-1" / "edge_weights.npy")
        for bad in (-1, np.nan, np.inf):
            weights[3] = bad
            np.save(out / "part-1" / "edge_weights.npy", weights)
            refused = self.gsplit("inspect", out, "--verify")
            self.assertEqual(refused.returncode, 2)
            self.assertIn("at edge 3", refused.stderr)


if __name__ == "__main__":
    unittest.main()
