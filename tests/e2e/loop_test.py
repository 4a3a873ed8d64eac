"""The training loop's options: optimizers, schedules, early stop, bad losses, input rows, evaluation."""

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


if __name__ == "__main__":
    unittest.main()
