"""The training loop's options: optimizers, schedules, early stop, bad losses, input rows, evaluation."""

import json
import math
import unittest

import harness
import numpy as np

SMALL = ["--fanout", "4,3", "--hidden", "16", "--batch-size", "100", "--workers", "2"]
STEPS = 15  # 3 epochs of 5 steps


class Loop(harness.Scratch):
    """Runs on one small graph with 5 steps an epoch."""

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.dataset = cls.generate("graph", nodes=5000, degree=8, features=8, classes=4)

    def fit(self, *arguments, dataset=None, epochs=3):
        return self.train(dataset or self.dataset, *SMALL, "--epochs", epochs, *arguments)

    def refused(self, word, *arguments, code=2):
        run_dir = self.scratch / "refused"
        done = self.gsplit("train", self.dataset, "--run-dir", run_dir, *SMALL, *arguments)
        self.assertEqual(done.returncode, code, done.stderr)
        self.assertEqual(len(done.stderr.splitlines()), 1, done.stderr)
        self.assertIn(word, done.stderr)
        return done.stderr

    def weights(self, run_dir, name="final"):
        return (run_dir / "checkpoints" / name / "model.safetensors").read_bytes()

    def rates(self, *arguments):
        run_dir = self.fit("--lr", "0.01", "--eval-every", 0, *arguments)
        return [event["lr"] for event in harness.events(run_dir, "step")]

    def end(self, run_dir):
        return harness.events(run_dir, "run_end")[0]


class Updates(Loop):
    """What happens to the weights, and how fast."""

    def test_every_optimizer_learns_and_differs(self):
        found = {}
        for name, rate in (("adam", 0.01), ("adamw", 0.01), ("sgd", 0.1)):
            run_dir = self.fit("--optimizer", name, "--lr", rate, "--weight-decay", 0.1, "--eval-every", 0)
            losses = harness.losses(run_dir)
            self.assertLess(losses[-1], losses[0], name)
            found[name] = losses[-1]
        self.assertEqual(len(set(found.values())), 3)

    def test_clipping_changes_nothing_below_its_norm(self):
        free = self.weights(self.fit("--optimizer", "sgd", "--lr", 0.1))
        self.assertEqual(self.weights(self.fit("--optimizer", "sgd", "--lr", 0.1, "--clip-norm", 1e9)), free)
        self.assertNotEqual(self.weights(self.fit("--optimizer", "sgd", "--lr", 0.1, "--clip-norm", 0.01)), free)

    def test_any_number_of_workers_clips_by_the_same_norm(self):
        curves = [harness.losses(self.fit("--optimizer", "sgd", "--lr", 0.1, "--clip-norm", 0.05, "--precision", "fp64",
                                          "--input-dropout", 0.3, "--normalize-features", "row", "--workers", workers))
                  for workers in (1, 3)]
        for one, three in zip(*curves, strict=True):
            self.assertLess(abs(one - three), 1e-9)

    def test_rates_follow_the_schedule(self):
        self.assertEqual(self.rates(), [0.01] * STEPS)
        cosine = self.rates("--lr-schedule", "cosine", "--warmup-steps", 4)
        for step, rate in enumerate(cosine, 1):
            expected = step / 4 if step < 4 else (1 + math.cos(math.pi * max(step - 5, 0) / 11)) / 2
            self.assertAlmostEqual(rate, 0.01 * expected, places=12)
        dropped = self.rates("--lr-schedule", "step", "--lr-step-epochs", 2, "--lr-gamma", 0.5)
        self.assertEqual(dropped, [0.01] * 10 + [0.005] * 5)

    def test_init_from_goes_on_where_the_weights_are(self):
        first = self.fit("--lr", 0.01, epochs=6)
        start = harness.losses(first)[0]
        for source in (first, first / "checkpoints" / "final", first / "checkpoints" / "final" / "model.safetensors"):
            second = self.fit("--init-from", source, "--lr", 0, epochs=1)
            self.assertLess(harness.losses(second)[0], start - 0.1)
        self.assertEqual(self.weights(second), self.weights(first))  # a rate of 0
        self.refused("another shape", "--init-from", first, "--hidden", 8)
        for wrong in (["--hidden", 8], ["--hidden", 16]):
            source = first if wrong[1] == 8 else self.scratch / "nowhere"
            done = self.gsplit("train", self.dataset, "--run-dir", self.scratch / "refused", *SMALL[:-2], *wrong,
                               "--init-from", source, ranks=3)
            self.assertEqual(len([line for line in done.stderr.splitlines() if line.startswith("gsplit: ")]), 1, done.stderr)
        self.refused("nowhere", "--init-from", self.scratch / "nowhere")


class Endings(Loop):
    """When and how a run ends."""

    def test_early_stop_ends_after_its_patience_with_the_best_weights(self):
        run_dir = self.fit("--early-stop", 2, "--lr", 0.05, "--weight-decay", 0.05, epochs=60)
        accuracies = [event["valid_acc"] for event in harness.events(run_dir, "epoch")]
        end = self.end(run_dir)
        self.assertEqual(end["status"], "early_stop")
        self.assertLess(len(accuracies), 60)
        self.assertEqual(end["epochs"], len(accuracies))
        best = accuracies.index(max(accuracies))
        self.assertEqual(best, len(accuracies) - 3)
        self.assertEqual(end["best_valid_acc"], accuracies[best])
        out = self.scratch / "predictions.npy"
        self.must("infer", run_dir, self.dataset, "--out", out)
        nodes, labels = (np.load(self.dataset / f"test_{kind}.npy") for kind in ("seeds", "labels"))
        self.assertAlmostEqual((np.load(out)[nodes] == labels).mean(), end["test_acc"], delta=0.003)
        self.refused("--early-stop", "--early-stop", 2, "--eval-every", 0)

    def test_early_stop_is_uniform_under_mpirun(self):
        run_dir = self.train(self.dataset, *SMALL[:-2], "--epochs", 60, "--early-stop", 1, "--lr", 0.05, ranks=3)
        self.assertEqual(self.end(run_dir)["status"], "early_stop")

    def test_a_bad_loss_ends_the_run_and_names_step_and_layer(self):
        message = self.refused("NaN or infinite", "--lr", 1e30, "--overwrite", code=3)
        self.assertRegex(message, r"step [23]\b.*layer [12].*--lr")
        self.assertFalse((self.scratch / "refused" / "checkpoints" / "final").exists())
        under_mpirun = self.gsplit("train", self.dataset, "--run-dir", self.scratch / "bad", *SMALL[:-2], "--lr", 1e30,
                                   ranks=3)
        ours = [line for line in under_mpirun.stderr.splitlines() if line.startswith("gsplit: ")]
        self.assertEqual(len(ours), 1, under_mpirun.stderr)
        self.assertIn("NaN or infinite", ours[0])

    def test_config_yaml_carries_every_option(self):
        options = {"optimizer": "sgd", "momentum": 0.5, "weight-decay": 0.01, "clip-norm": 0.5, "lr-schedule": "step",
                   "warmup-steps": 3, "lr-step-epochs": 1, "lr-gamma": 0.75, "early-stop": 3, "eval-fanout": "3,2",
                   "normalize-features": "row", "input-dropout": 0.25}
        first = self.fit(*[word for name, option in options.items() for word in (f"--{name}", option)])
        text = (first / "config.yaml").read_text(encoding="utf-8").splitlines()
        for name, option in options.items():
            self.assertIn(f"{name}: {option}", text)
        again = self.scratch / "again"
        self.must("train", "--config", first / "config.yaml", "--run-dir", again)
        self.assertEqual(self.weights(again), self.weights(first))


class Data(Loop):
    """What the model reads, and how it is scored."""

    def test_sampled_evaluation_is_the_same_for_any_workers_and_near_the_full_one(self):
        sampled = [self.end(self.fit("--eval-fanout", "4,3", "--precision", "fp64", "--workers", workers))["test_acc"]
                   for workers in (1, 3)]
        self.assertEqual(*sampled)
        full = self.end(self.fit("--precision", "fp64"))["test_acc"]
        self.assertNotEqual(sampled[0], full)
        self.assertAlmostEqual(sampled[0], full, delta=0.15)
        # A fanout that no degree exceeds is no sample at all.
        everything = self.end(self.fit("--precision", "fp64", "--eval-fanout", "-1,100000"))
        self.assertEqual(everything["test_acc"], full)
        self.refused("--eval-fanout", "--eval-fanout", "3,2,1")

    def test_row_normalisation_is_that_of_normalised_data(self):
        features = np.load(self.dataset / "feat.npy")
        shifted = features.astype(np.float64) - features.min()
        normal = self.generate("normal", nodes=5000, degree=8, features=8, classes=4)
        np.save(normal / "feat.npy", (shifted / np.maximum(shifted.sum(1, keepdims=True), 1)).astype(np.float32))
        ours = self.fit("--normalize-features", "row", "--lr", 0.05)
        theirs = self.fit("--lr", 0.05, dataset=normal)
        for one, other in zip(harness.losses(ours), harness.losses(theirs), strict=True):
            self.assertAlmostEqual(one, other, delta=1e-4)
        self.assertAlmostEqual(self.end(ours)["test_acc"], self.end(theirs)["test_acc"], delta=0.005)

    def test_input_dropout_masks_training_alone(self):
        free = self.fit("--dropout", 0, "--lr", 0)
        masked = self.fit("--dropout", 0, "--lr", 0, "--input-dropout", 0.5)
        self.assertNotEqual(harness.losses(free)[0], harness.losses(masked)[0])
        self.assertEqual(self.end(free)["test_acc"], self.end(masked)["test_acc"])


class Commands(Loop):
    """--dry-run, --seeds, gsplit evaluate and gsplit infer --embeddings."""

    def test_dry_run_says_what_a_run_takes_and_leaves_nothing(self):
        run_dir = self.scratch / "dry"
        said = self.must("train", self.dataset, "--run-dir", run_dir, *SMALL, "--dry-run").stdout
        self.assertFalse(run_dir.exists())
        for word in ("50 steps, 5 an epoch", "worker 0: memory", "worker 1: memory", "expected shuffle"):
            self.assertIn(word, said)
        # What it samples is what a run samples.
        single = self.must("train", self.dataset, "--run-dir", run_dir, *SMALL, "--workers", 1, "--max-steps", 4,
                           "--dry-run").stdout
        steps = harness.events(self.fit("--workers", 1, "--max-steps", 4), "step")
        mean = [sum(step[count] for step in steps) // 4 for count in ("edges", "input_rows")]
        self.assertIn(f"{mean[0]} edges and {mean[1]} input rows a step", single)

    def test_seeds_make_a_run_each_and_state_the_spread(self):
        for ranks in (None, 2):
            run_dir = self.scratch / f"seeds-{ranks}"
            arguments = SMALL if ranks is None else SMALL[:-2]
            said = self.must("train", self.dataset, "--run-dir", run_dir, *arguments, "--epochs", 2, "--seeds", 3, "--seed", 5,
                             ranks=ranks).stdout
            self.assertEqual(sorted(path.name for path in run_dir.iterdir()), ["seed-5", "seed-6", "seed-7"])
            found = [100 * self.end(run_dir / f"seed-{seed}")["test_acc"] for seed in (5, 6, 7)]
            expected = f"{np.mean(found):.2f} % mean, {np.std(found, ddof=1):.2f} % standard deviation"
            self.assertIn(expected, said.splitlines()[-1])
        alone = self.fit("--seed", 6, epochs=2)
        self.assertEqual(self.weights(alone), self.weights(run_dir / "seed-6"))
        again = self.gsplit("train", self.dataset, "--run-dir", run_dir, *SMALL, "--seeds", 4, "--seed", 4)
        self.assertEqual(again.returncode, 2)
        self.assertFalse((run_dir / "seed-4").exists())

    def test_evaluate_states_the_accuracies_of_the_best_weights(self):
        run_dir = self.fit("--lr", 0.01, "--normalize-features", "row")
        end = self.end(run_dir)
        for workers in (1, 3):
            done = self.must("evaluate", run_dir, self.dataset, "--json", "--workers", workers)
            found = json.loads(done.stdout)
            self.assertAlmostEqual(found["test_acc"], end["test_acc"], delta=0.003)
            self.assertAlmostEqual(found["valid_acc"], end["best_valid_acc"], delta=0.003)
            self.assertGreater(found["train_acc"], 0.25)
            self.assertEqual([found[f"{split}_nodes"] for split in ("train", "valid", "test")], [500, 250, 500])
        text = self.must("evaluate", run_dir / "checkpoints" / "best", self.dataset).stdout.splitlines()[-1]
        self.assertIn(f"test {100 * end['test_acc']:.1f}", text)
        refused = self.gsplit("evaluate", self.scratch, self.dataset)
        self.assertEqual(refused.returncode, 2)

    def test_embeddings_are_the_last_hidden_layer(self):
        run_dir = self.fit("--lr", 0.01)
        out, embeddings, some = (self.scratch / f"{name}.npy" for name in ("out", "embeddings", "some"))
        rows = []
        for workers in (1, 3):
            self.must("infer", run_dir, self.dataset, "--out", out, "--embeddings", embeddings, "--workers", workers)
            rows.append(np.load(embeddings))
        np.testing.assert_allclose(rows[0], rows[1], atol=1e-5)
        self.assertEqual((rows[0].shape, rows[0].dtype), ((5000, 16), np.float32))
        self.assertGreaterEqual(rows[0].min(), 0)  # after the ReLU
        # The last layer of them, by hand: the mean of in-neighbours and the node's own row.
        weights = harness.tensors(run_dir / "checkpoints" / "best" / "model.safetensors")
        source, target = np.load(self.dataset / "edges.npy").astype(np.int64)
        mean = np.zeros_like(rows[1])
        np.add.at(mean, target, rows[1][source])
        mean /= np.maximum(np.bincount(target, minlength=5000), 1)[:, None]
        logits = (mean @ weights["convs.1.lin_l.weight"].T + weights["convs.1.lin_l.bias"]
                  + rows[1] @ weights["convs.1.lin_r.weight"].T)
        self.assertGreater((logits.argmax(1) == np.load(out)).mean(), 0.999)
        flat = self.train(self.dataset, "--fanout", "4", "--epochs", 1)
        refused = self.gsplit("infer", flat, self.dataset, "--out", out, "--embeddings", embeddings)
        self.assertEqual(refused.returncode, 2)
        self.assertIn("--embeddings", refused.stderr)

    def test_infer_answers_for_the_nodes_asked_for_in_their_order(self):
        run_dir = self.fit("--lr", 0.01)
        out, embeddings, some = (self.scratch / f"{name}.npy" for name in ("out", "embeddings", "some"))
        self.must("infer", run_dir, self.dataset, "--out", out, "--embeddings", embeddings)
        classes, rows = np.load(out), np.load(embeddings)
        self.assertGreater(len(np.unique(classes)), 1)
        for nodes in (np.array([4999, 7, 7, 0]), np.array([4999, 7], np.uint16), np.array([], np.int32)):
            np.save(some, nodes)
            embeddings.unlink()
            self.must("infer", run_dir, self.dataset, "--out", out, "--nodes", some)
            np.testing.assert_array_equal(np.load(out), classes[nodes.astype(np.int64)])
            self.assertFalse(embeddings.exists())
            out.unlink()
            self.must("infer", run_dir, self.dataset, "--out", out, "--nodes", some, "--embeddings", embeddings,
                      "--workers", 2)
            np.testing.assert_array_equal(np.load(out), classes[nodes.astype(np.int64)])
            np.testing.assert_allclose(np.load(embeddings), rows[nodes.astype(np.int64)], atol=1e-5)

    def test_infer_refuses_bad_nodes_and_outputs(self):
        run_dir = self.fit(epochs=1)
        folder = self.scratch / "bad"
        folder.mkdir()
        nodes, out = folder / "nodes.npy", folder / "out.npy"
        command = ["infer", run_dir, self.dataset, "--out", out]

        def refused(word, *arguments):
            done = self.gsplit(*(arguments or [*command, "--nodes", nodes]))
            self.assertEqual(done.returncode, 2, done.stderr)
            self.assertEqual(len(done.stderr.splitlines()), 1, done.stderr)
            self.assertIn(word, done.stderr)
            self.assertEqual([path for path in folder.iterdir() if path != nodes], [])

        for content, word in (([7, 5000], "entry 1 is no node"), ([-1], "entry 0 is no node"), ([1.0], "holds f8"),
                              ([True], "holds b1"), ([[1, 2]], "2 dimensions"), (3, "0 dimensions"),
                              (np.array([2**63], np.uint64), "entry 0"), (np.array([1], ">i4"), "big endian"),
                              (np.array(["1"], object), "Python objects")):
            np.save(nodes, content)
            refused(word)
            refused(word, *command, "--nodes", nodes, "--embeddings", folder / "embeddings.npy")
        nodes.write_text("1\n2\n", encoding="ascii")
        refused("nodes.npy")
        nodes.unlink()
        refused("nodes.npy")
        refused("--out", "infer", run_dir, self.dataset, "--out", folder / "nowhere" / "out.npy")
        refused("--out", "infer", run_dir, self.dataset, "--out", folder)
        refused("--embeddings", *command, "--embeddings", folder / "nowhere" / "out.npy")
        refused("--embeddings", *command, "--embeddings", out)


if __name__ == "__main__":
    unittest.main()
