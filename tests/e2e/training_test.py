"""A whole run: its files, its numbers, its accuracy on generated and on real graphs."""

import unittest

import harness
import numpy as np


class RunDirectory(harness.Scratch):
    """What a run leaves behind."""

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.dataset = cls.generate("graph", nodes=4000, degree=16, features=24, classes=6)
        cls.run_dir = cls.train(cls.dataset, "--fanout", "5,5", "--hidden", "32", "--batch-size", "100", "--epochs", "6",
                                "--workers", "2")

    def test_has_one_event_per_step_and_epoch(self):
        steps = harness.events(self.run_dir, "step")
        self.assertEqual([event["step"] for event in steps], list(range(1, 25)))
        self.assertEqual(sum(event["seeds"] for event in steps), 6 * 400)
        self.assertEqual([event["epoch"] for event in harness.events(self.run_dir, "epoch")], [1, 2, 3, 4, 5, 6])
        self.assertEqual(len(harness.events(self.run_dir, "run_start")), 1)
        end = harness.events(self.run_dir, "run_end")
        self.assertEqual([event["status"] for event in end], ["done"])

    def test_counts_what_split_parallelism_promises(self):
        single = self.train(self.dataset, "--fanout", "5,5", "--hidden", "32", "--batch-size", "100", "--epochs", "1",
                            "--workers", "1")
        for split, one in zip(harness.events(self.run_dir, "step"), harness.events(single, "step")):
            for count in ("edges", "input_rows", "seeds"):
                self.assertEqual(split[count], one[count], count)  # no node is sampled or loaded twice
            self.assertEqual(one["shuffle_bytes"], 0)
            self.assertGreater(split["shuffle_bytes"], 0)
            self.assertEqual(split["rows_cache"] + split["rows_remote"] + split["rows_disk"], split["input_rows"])

    def test_learns_and_waits_for_no_plan(self):
        epochs = harness.events(self.run_dir, "epoch")
        self.assertLess(epochs[-1]["loss"], 0.8 * epochs[0]["loss"])

    def test_config_yaml_runs_it_again(self):
        again = self.scratch / "again"
        self.must("train", "--config", self.run_dir / "config.yaml", "--run-dir", again)
        name = "checkpoints/final/model.safetensors"
        self.assertEqual((again / name).read_bytes(), (self.run_dir / name).read_bytes())

    def test_predictions_are_in_original_ids(self):
        out = self.scratch / "predictions.npy"
        end = harness.events(self.run_dir, "run_end")[0]
        nodes, labels = (np.load(self.dataset / f"test_{kind}.npy") for kind in ("seeds", "labels"))
        for workers in (1, 3):
            self.must("infer", self.run_dir, self.dataset, "--out", out, "--workers", workers)
            predicted = np.load(out)
            self.assertEqual(predicted.shape, (4000,))
            self.assertAlmostEqual((predicted[nodes] == labels).mean(), end["test_acc"], delta=0.006)
        everyone = np.load(out)
        np.save(self.scratch / "some.npy", nodes[:50])
        self.must("infer", self.run_dir, self.dataset, "--out", out, "--nodes", self.scratch / "some.npy")
        np.testing.assert_array_equal(np.load(out), everyone[nodes[:50]])

    def test_a_second_run_needs_overwrite(self):
        refused = self.gsplit("train", self.dataset, "--run-dir", self.run_dir)
        self.assertEqual(refused.returncode, 2)
        self.assertIn("--overwrite", refused.stderr)


def linear_accuracy(dataset):
    """Test accuracy of multinomial logistic regression on the nodes' own features."""
    x = np.load(dataset / "feat.npy").astype(np.float64)
    split = {name: np.load(dataset / f"{name}.npy") for name in
             ("train_seeds", "train_labels", "test_seeds", "test_labels")}
    train, labels = x[split["train_seeds"]], split["train_labels"]
    mean, deviation = train.mean(0), train.std(0) + 1e-9
    train, test = (train - mean) / deviation, (x[split["test_seeds"]] - mean) / deviation
    onehot = np.eye(labels.max() + 1)[labels]
    weights, bias = np.zeros((x.shape[1], onehot.shape[1])), np.zeros(onehot.shape[1])
    for _ in range(500):
        logits = train @ weights + bias
        probability = np.exp(logits - logits.max(1, keepdims=True))
        probability /= probability.sum(1, keepdims=True)
        gradient = (probability - onehot) / len(labels)
        weights -= 0.5 * (train.T @ gradient + 1e-3 * weights)
        bias -= 0.5 * gradient.sum(0)
    return ((test @ weights + bias).argmax(1) == split["test_labels"]).mean()


class Accuracy(harness.Scratch):
    """The graph helps where it should."""

    def test_sage_beats_a_linear_model_by_15_points(self):
        dataset = self.generate("graph", nodes=20000, degree=20, features=64, classes=10)
        run_dir = self.train(dataset, "--fanout", "10,5", "--hidden", "64", "--batch-size", "512", "--epochs", "10",
                             "--workers", "2", "--eval-every", "10")
        sage, linear = harness.events(run_dir, "run_end")[0]["test_acc"], linear_accuracy(dataset)
        print(f"sbm: linear model {linear:.4f}, SAGE {sage:.4f}")
        self.assertGreater(sage, linear + 0.15)

    def test_amazon_photo_reaches_its_known_accuracy(self):
        dataset = harness.real_data("amazon_photo")
        if dataset is None:
            print("skipped: amazon_photo is not at hand")
            self.skipTest("amazon_photo is not at hand (GSPLIT_TEST_DATA)")
        found = []
        for seed in (0, 1, 2):
            run_dir = self.train(dataset, "--fanout", "15,10", "--hidden", "128", "--epochs", "15", "--batch-size", "512",
                                 "--workers", "4", "--seed", seed, "--eval-every", "3")
            found.append(harness.events(run_dir, "run_end")[0]["test_acc"])
        print("amazon_photo: test accuracy", found)
        self.assertGreaterEqual(sum(found) / 3, 0.935)


if __name__ == "__main__":
    unittest.main()
