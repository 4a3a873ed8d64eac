"""Multi-label classification and class weights: losses, scores, predictions, any number of workers."""

import json
import unittest

import harness
import numpy as np

NODES, CLASSES, WIDTH = 3000, 6, 12
SMALL = ["--fanout", "5,4", "--hidden", "24", "--batch-size", "200"]
# One step on all training nodes with all neighbours and no dropout: a loss that can be computed here.
EXACT = ["--fanout", "full,full", "--hidden", "16", "--batch-size", "100000", "--max-steps", 1, "--dropout", 0,
         "--eval-every", 0, "--optimizer", "sgd", "--momentum", 0]

METADATA = """dataset_name: communities
graph: {{nodes: [{{num: {nodes}}}], edges: [{{format: numpy, path: edges.npy}}]}}
feature_data: [{{domain: node, name: feat, format: numpy, path: feat.npy}}]
tasks:
  - num_classes: {classes}
    train_set: [{{data: [{{name: seeds, format: numpy, path: train_seeds.npy}},
                        {{name: labels, format: numpy, path: train_labels.npy}}]}}]
    validation_set: [{{data: [{{name: seeds, format: numpy, path: valid_seeds.npy}},
                             {{name: labels, format: numpy, path: valid_labels.npy}}]}}]
    test_set: [{{data: [{{name: seeds, format: numpy, path: test_seeds.npy}},
                       {{name: labels, format: numpy, path: test_labels.npy}}]}}]
"""


def write_communities(path, multi_label, seed=0):
    """Overlapping communities of unequal size; a node's labels are those it is a member of, or the rarest of them.

    Edges join members of a community, both directions; features are the sum of the communities' centres, deep in noise.
    """
    random = np.random.default_rng(seed)
    member = random.random((NODES, CLASSES)) < np.linspace(0.1, 0.45, CLASSES)
    member[np.arange(NODES), random.integers(CLASSES, size=NODES)] = True
    source = np.repeat(np.arange(NODES), 12)
    shared = (random.random((len(source), CLASSES)) * member[source]).argmax(1)  # one of the source's, at random
    target = np.empty_like(source)
    for c in range(CLASSES):
        target[shared == c] = random.choice(np.flatnonzero(member[:, c]), (shared == c).sum())
    centres = random.normal(size=(CLASSES, WIDTH))
    features = member @ centres + random.normal(scale=2, size=(NODES, WIDTH))
    labels = member.astype(np.float32) if multi_label else member.argmax(1)
    path.mkdir()
    (path / "metadata.yaml").write_text(METADATA.format(nodes=NODES, classes=CLASSES), encoding="utf-8")
    np.save(path / "edges.npy", np.array([[*source, *target], [*target, *source]], dtype=np.int32))
    np.save(path / "feat.npy", features.astype(np.float32))
    order = random.permutation(NODES)
    for name, nodes in (("train", order[:1000]), ("valid", order[1000:1600]), ("test", order[1600:])):
        np.save(path / f"{name}_seeds.npy", nodes)
        np.save(path / f"{name}_labels.npy", labels[nodes])
    return path


def micro_f1(predicted, labels):
    """2 TP / (2 TP + FP + FN) over nodes and labels together."""
    predicted, labels = predicted.astype(bool), labels.astype(bool)
    hits, misses = (predicted & labels).sum(), (predicted ^ labels).sum()
    return 2 * hits / (2 * hits + misses)


def cross_entropy(logits, labels, weights):
    """torch.nn.CrossEntropyLoss(weight=weights) and its gradient."""
    shifted = logits - logits.max(1, keepdims=True)
    log_softmax = shifted - np.log(np.exp(shifted).sum(1, keepdims=True))
    each = weights[labels]
    loss = -(each * log_softmax[np.arange(len(labels)), labels]).sum() / each.sum()
    return loss, each[:, None] * (np.exp(log_softmax) - np.eye(logits.shape[1])[labels]) / each.sum()


def binary_cross_entropy(logits, labels, weights):
    """torch.nn.BCEWithLogitsLoss(pos_weight=weights) and its gradient."""
    positive = np.logaddexp(0, -logits)  # -log of the probability
    negative = np.logaddexp(0, logits)
    loss = (weights * labels * positive + (1 - labels) * negative).mean()
    return loss, ((1 - labels) * np.exp(-positive) - weights * labels * np.exp(-negative)) / logits.size


def balanced(labels):
    """What --class-weights balanced is."""
    if labels.ndim == 2:
        count = labels.sum(0)
        return np.where(count > 0, (len(labels) - count) / np.maximum(count, 1), 1)
    count = np.bincount(labels, minlength=CLASSES)
    return np.where(count > 0, len(labels) / (CLASSES * np.maximum(count, 1)), 0)


class Labels(harness.Scratch):
    """Two tasks on one graph: all communities of a node, and the first of them."""

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.many = write_communities(cls.scratch / "many", multi_label=True)
        cls.one = write_communities(cls.scratch / "one", multi_label=False)
        cls.file = cls.scratch / "weights.npy"
        cls.weights = np.array([3, 0.5, 1, 0, 2, 1.25])
        np.save(cls.file, cls.weights)

    def end(self, run_dir):
        return harness.events(run_dir, "run_end")[0]


class MultiLabel(Labels):
    """A whole run on several labels a node."""

    def test_learns_far_above_what_needs_no_graph(self):
        run_dir = self.scratch / "run"
        said = self.must("train", self.many, "--run-dir", run_dir, *SMALL, "--epochs", 20, "--lr", 0.01, "--dropout", 0.2, "--workers",
                         2).stdout
        nodes, labels = (np.load(self.many / f"test_{kind}.npy") for kind in ("seeds", "labels"))
        train = np.load(self.many / "train_labels.npy")
        everything = micro_f1(np.ones_like(labels), labels)
        majority = micro_f1(np.tile(train.mean(0) > 0.5, (len(labels), 1)), labels)
        end = self.end(run_dir)
        print(f"micro-F1: all labels {everything:.4f}, majority {majority:.4f}, SAGE {end['test_acc']:.4f}")
        self.assertGreater(end["test_acc"], max(everything, majority) + 0.15)
        self.assertEqual(harness.events(run_dir, "run_start")[0]["metric"], "micro_f1")
        self.assertIn("train micro_f1", said)
        self.assertIn(f"micro_f1 {100 * end['best_valid_acc']:.2f} %", said)
        losses = harness.losses(run_dir)
        self.assertLess(losses[0], 1.5)  # a mean over batch x classes, not over the batch
        self.assertLess(np.mean(losses[-5:]), 0.8 * losses[0])
        self.predictions_are_rows_of_labels(run_dir, nodes, labels, end)

    def predictions_are_rows_of_labels(self, run_dir, nodes, labels, end):
        out, some = self.scratch / "labels.npy", self.scratch / "some.npy"
        for workers in (1, 3):
            self.must("infer", run_dir, self.many, "--out", out, "--workers", workers)
            predicted = np.load(out)
            self.assertEqual((predicted.shape, predicted.dtype), ((NODES, CLASSES), np.uint8))
            self.assertAlmostEqual(micro_f1(predicted[nodes], labels), end["test_acc"], delta=0.003)
        np.save(some, nodes[:40])
        self.must("infer", run_dir, self.many, "--out", out, "--nodes", some)
        np.testing.assert_array_equal(np.load(out), predicted[nodes[:40]])
        found = json.loads(self.must("evaluate", run_dir, self.many, "--json").stdout)
        self.assertEqual(found["metric"], "micro_f1")
        self.assertAlmostEqual(found["test_acc"], end["test_acc"], delta=0.003)
        self.assertIn("micro_f1: train", self.must("evaluate", run_dir, self.many).stdout)

    def test_one_class_a_node_stays_as_it_was(self):
        run_dir = self.scratch / "classes"
        said = self.must("train", self.one, "--run-dir", run_dir, *SMALL, "--epochs", 2).stdout
        self.assertEqual(harness.events(run_dir, "run_start")[0]["metric"], "accuracy")
        self.assertIn("train accuracy", said)
        self.must("infer", run_dir, self.one, "--out", self.scratch / "classes.npy")
        predicted = np.load(self.scratch / "classes.npy")
        self.assertEqual((predicted.shape, predicted.dtype), ((NODES,), np.int32))
        nodes, labels = (np.load(self.one / f"test_{kind}.npy") for kind in ("seeds", "labels"))
        self.assertAlmostEqual((predicted[nodes] == labels).mean(), self.end(run_dir)["test_acc"], delta=0.003)

    def test_inspect_and_seeds_say_the_task(self):
        found = json.loads(self.must("inspect", self.many, "--json").stdout)
        self.assertEqual(found["task"], "multi_label")
        parts = self.scratch / "parts"
        self.must("partition", self.many, "--parts", 2, "--method", "random", "--out", parts)
        self.assertEqual(json.loads(self.must("inspect", parts, "--verify", "--json").stdout)["task"], "multi_label")
        said = self.must("train", self.many, "--run-dir", self.scratch / "seeds", *SMALL, "--epochs", 1, "--seeds", 2).stdout
        self.assertIn("2 seeds: test micro_f1", said.splitlines()[-1])


class Losses(Labels):
    """The loss and its gradient against formulas written down here."""

    def logits(self, dataset, weights):
        """GraphSAGE of two layers on all neighbours."""
        source, target = np.load(dataset / "edges.npy").astype(np.int64)
        rows = np.load(dataset / "feat.npy").astype(np.float64)
        for layer in (0, 1):
            mean = np.zeros_like(rows)
            np.add.at(mean, target, rows[source])
            mean /= np.maximum(np.bincount(target, minlength=NODES), 1)[:, None]
            left, bias, right = (weights[f"convs.{layer}.{name}"] for name in ("lin_l.weight", "lin_l.bias", "lin_r.weight"))
            rows = mean @ left.T + bias + rows @ right.T
            if layer == 0:
                rows = np.maximum(rows, 0)
        return rows

    def final_weights(self, run_dir):
        return harness.tensors(run_dir / "checkpoints" / "final" / "model.safetensors")

    def test_are_those_of_torch_for_every_choice_of_weights(self):
        for dataset, loss_of in ((self.one, cross_entropy), (self.many, binary_cross_entropy)):
            nodes, labels = (np.load(dataset / f"train_{kind}.npy") for kind in ("seeds", "labels"))
            seen = set()
            for choice, weights in (("none", np.ones(CLASSES)), ("balanced", balanced(labels)), (self.file, self.weights)):
                with self.subTest(dataset=dataset.name, choice=choice):
                    options = [*EXACT, "--class-weights", choice, "--workers", 2]
                    still, moved = (self.train(dataset, *options, "--lr", rate) for rate in (0, 1))
                    start = self.final_weights(still)
                    loss, gradient = loss_of(self.logits(dataset, start)[nodes], labels, weights)
                    found = harness.losses(still)[0]
                    self.assertAlmostEqual(found, loss, delta=1e-5 * loss)
                    self.assertAlmostEqual(harness.events(still, "epoch")[0]["loss"], found, places=12)
                    name = "convs.1.lin_l.bias"  # its gradient is the sum of the logits' rows
                    change = start[name] - self.final_weights(moved)[name]
                    np.testing.assert_allclose(change, gradient.sum(0), atol=2e-6)
                    self.assertGreater(np.abs(change).max(), 1e-3)
                    seen.add(round(found, 4))
            self.assertEqual(len(seen), 3)  # the weights matter

    def test_formulas_here_are_torchs(self):
        try:
            import torch  # pylint: disable=import-outside-toplevel
        except ImportError:
            self.skipTest("this Python has no PyTorch")
        random = np.random.default_rng(1)
        logits = random.normal(scale=3, size=(50, CLASSES))
        for loss_of, module, labels in (
            (cross_entropy, torch.nn.CrossEntropyLoss(weight=torch.tensor(self.weights)), random.integers(CLASSES, size=50)),
            (binary_cross_entropy, torch.nn.BCEWithLogitsLoss(pos_weight=torch.tensor(self.weights)),
             (random.random((50, CLASSES)) < 0.3).astype(np.float64)),
        ):
            theirs = torch.tensor(logits, requires_grad=True)
            module(theirs, torch.tensor(labels)).backward()
            loss, gradient = loss_of(logits, labels, self.weights)
            self.assertAlmostEqual(loss, module(theirs, torch.tensor(labels)).item(), places=12)
            np.testing.assert_allclose(gradient, theirs.grad.numpy(), atol=1e-14)

    def test_are_zero_where_no_seed_has_a_weight(self):
        np.save(self.scratch / "last.npy", np.array([0, 0, 0, 0, 0, 1], dtype=np.float32))
        run_dir = self.train(self.one, "--fanout", "3,3", "--hidden", 8, "--batch-size", 2, "--max-steps", 30, "--eval-every",
                             0, "--workers", 3, "--class-weights", self.scratch / "last.npy")
        losses = harness.losses(run_dir)
        self.assertIn(0, losses)
        self.assertTrue(all(loss >= 0 for loss in losses))


class Equality(Labels):
    """Any number of workers, one answer."""

    def curve(self, dataset, *arguments, ranks=None):
        return harness.losses(self.train(dataset, *SMALL, "--eval-every", 0, "--precision", "fp64", "--max-steps", 25,
                                         *arguments, ranks=ranks))

    def test_fp64_agrees_to_1e_9_for_both_tasks_with_and_without_weights(self):
        for dataset, choice in ((self.many, "none"), (self.many, "balanced"), (self.many, self.file),
                                (self.one, "balanced"), (self.one, self.file)):
            fixed = ["--class-weights", choice]
            reference = self.curve(dataset, "--workers", 1, *fixed)
            self.assertLess(np.mean(reference[-5:]), np.mean(reference[:5]))
            for curve in (self.curve(dataset, "--workers", 3, "--partition", "random", *fixed),
                          self.curve(dataset, *fixed, ranks=2)):
                for ours, theirs in zip(curve, reference, strict=True):
                    self.assertLess(abs(ours - theirs), 1e-9, (dataset.name, choice))

    def test_weights_of_one_change_nothing(self):
        np.save(self.scratch / "ones.npy", np.ones(CLASSES))
        for dataset in (self.one, self.many):
            plain = self.curve(dataset, "--workers", 2)
            for ours, theirs in zip(self.curve(dataset, "--workers", 2, "--class-weights", self.scratch / "ones.npy"), plain,
                                    strict=True):
                self.assertAlmostEqual(ours, theirs, places=12)

    def test_scores_agree_for_any_workers(self):
        scores = [self.end(self.train(self.many, *SMALL, "--precision", "fp64", "--epochs", 2, "--workers", workers))
                  for workers in (1, 3)]
        self.assertEqual(scores[0]["test_acc"], scores[1]["test_acc"])
        self.assertEqual(scores[0]["best_valid_acc"], scores[1]["best_valid_acc"])

    def test_bits_do_not_depend_on_threads(self):
        weights = [(self.train(self.many, *SMALL, "--epochs", 1, "--workers", 2, "--threads", threads, "--class-weights",
                               "balanced") / "checkpoints" / "final" / "model.safetensors").read_bytes()
                   for threads in (1, 3)]
        self.assertEqual(*weights)

    def test_config_yaml_runs_it_again_and_inference_needs_no_file(self):
        own = self.scratch / "own.npy"
        np.save(own, self.weights)
        first = self.train(self.one, *SMALL, "--epochs", 1, "--workers", 2, "--class-weights", own)
        again = self.scratch / "again"
        self.must("train", "--config", first / "config.yaml", "--run-dir", again)
        name = "checkpoints/final/model.safetensors"
        self.assertEqual((again / name).read_bytes(), (first / name).read_bytes())
        own.unlink()
        self.must("evaluate", first, self.one)


if __name__ == "__main__":
    unittest.main()
