"""--mode hybrid, p3 and auto: the same mini-batches and the same curves as split parallelism."""

import re
import unittest

import numpy as np

import harness

SMALL = ["--fanout", "4,3", "--hidden", "24", "--batch-size", "200"]
MODELS = ("sage", "gcn", "gat", "gin")
DROPOUT = ["--dropout", 0.5, "--attn-dropout", 0.3, "--input-dropout", 0.2]
FP64 = ["--precision", "fp64", "--max-steps", 50, *DROPOUT]


def hybrid(size):
    return ["--mode", "hybrid", "--group-size", size]


class Modes(harness.Scratch):
    """Runs on one small graph."""

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.dataset = cls.generate("graph")

    def run_with(self, *arguments, ranks=None):
        return self.train(self.dataset, "--eval-every", 0, *SMALL, *arguments, ranks=ranks)

    def curve(self, *arguments, ranks=None):
        return harness.losses(self.run_with(*arguments, ranks=ranks))

    def assert_agree(self, curve, reference, what):
        for step, (ours, theirs) in enumerate(zip(curve, reference, strict=True), 1):
            self.assertLess(abs(ours - theirs), 1e-9, (*what, f"step {step}"))

    def refused(self, word, *arguments, ranks=None):
        done = self.gsplit("train", self.dataset, "--run-dir", self.scratch / "refused", *SMALL, *arguments, ranks=ranks)
        self.assertEqual(done.returncode, 2, done.stderr)
        ours = [line for line in done.stderr.splitlines() if line.startswith("gsplit:")]
        self.assertEqual(len(ours), 1, done.stderr)
        self.assertIn(word, ours[0])


class Hybrid(Modes):
    """Split parallelism in groups, data parallelism between them."""

    def test_fp64_agrees_to_1e_9_over_50_steps(self):
        for model in MODELS:
            fixed = ["--model", model, *FP64, "--class-weights", "balanced", "--normalize-features", "row"]
            reference = self.curve("--workers", 1, *fixed)
            self.assertEqual(len(reference), 50)
            self.assertLess(min(reference[-5:]), reference[0])
            for workers, size in ((4, 2), (6, 3)):
                curve = self.curve("--workers", workers, *hybrid(size), *fixed)
                self.assert_agree(curve, reference, (model, workers, size, "threads"))
            curve = self.curve("--partition", "random", *hybrid(2), *fixed, ranks=4)
            self.assert_agree(curve, reference, (model, "4 processes"))

    def test_every_route_and_sampler_agrees(self):
        for model, rest in (("sage", ["--route", "mixed"]), ("gcn", ["--route", "push"]), ("gcn", ["--route", "project"]),
                            ("gat", ["--sampler", "labor"])):
            fixed = ["--model", model, *FP64, *rest]
            reference = self.curve("--workers", 1, *fixed)
            self.assert_agree(self.curve("--workers", 4, *hybrid(2), *fixed), reference, (model, *rest))

    def test_the_smallest_group_is_data_and_the_largest_split(self):
        for transport in ({"ranks": 4}, {}):
            workers = [] if transport else ["--workers", 4]
            for size, mode in ((1, "data"), (4, "split")):
                ours, theirs = (self.run_with("--epochs", 2, *workers, *how, **transport)
                                for how in (hybrid(size), ["--mode", mode]))
                for one, other in zip(harness.events(ours, "step"), harness.events(theirs, "step"), strict=True):
                    for field in ("loss", "edges", "input_rows", "shuffle_bytes", "shuffle_bytes_pull", "plan_bytes",
                                  "allreduce_bytes"):
                        self.assertEqual(one[field], other[field], (mode, field))

    def test_transports_agree_to_the_bit(self):
        fixed = ["--epochs", 2, *hybrid(2)]
        self.assertEqual(self.curve(*fixed, "--workers", 4, "--threads", 1), self.curve(*fixed, ranks=4))

    def test_counts_lie_between_split_and_data(self):
        split, between, data = (harness.events(self.run_with("--max-steps", 5, "--workers", 4, "--route", "pull", *mode), "step")
                                for mode in (["--mode", "split"], hybrid(2), ["--mode", "data"]))
        for low, middle, high in zip(split, between, data, strict=True):
            for field in ("edges", "input_rows"):
                self.assertLess(low[field], middle[field])
                self.assertLess(middle[field], high[field])
            self.assertGreater(low["shuffle_bytes"], middle["shuffle_bytes"])
            self.assertGreater(middle["shuffle_bytes"], 0)
            self.assertGreater(middle["plan_bytes"], 0)

    def test_blocks_are_those_of_one_worker(self):
        files = []
        for arguments, ranks in ((["--workers", 1], None), (["--workers", 4, *hybrid(2)], None), (hybrid(3), 6)):
            files.append(self.scratch / f"blocks-{len(files)}")
            self.run_with("--max-steps", 3, "--dump-blocks", files[-1], *arguments, ranks=ranks)
            self.assertEqual(files[-1].read_bytes(), files[0].read_bytes(), arguments)

    def test_evaluation_is_shared_between_groups(self):
        # More nodes than one worker computes at a time: groups take turns, and the last round is not full.
        dataset = self.generate("wide", nodes=150000, degree=3, features=4, classes=3)
        fixed = ["--precision", "fp64", "--epochs", 1, "--fanout", "2,2", "--hidden", 4, "--batch-size", 4000]
        for evaluation in ("full", "2,2"):
            split, between = (harness.events(self.train(dataset, *fixed, "--eval-fanout", evaluation, *how), "run_end")[0]
                              for how in (["--workers", 1], ["--workers", 4, *hybrid(2)]))
            for name in ("best_valid_acc", "test_acc"):
                self.assertEqual(between[name], split[name], (evaluation, name))

    def test_wrong_use_is_refused(self):
        self.refused("--mode hybrid without --group-size", "--mode", "hybrid", "--workers", 4)
        self.refused("--group-size 3 does not divide the 4 workers", "--workers", 4, *hybrid(3))
        self.refused("--group-size 3 does not divide the 2 workers", *hybrid(3), ranks=2)
        self.refused("--group-size 8 does not divide the 4 workers", "--workers", 4, *hybrid(8))
        self.refused("--group-size 2 with --mode split", "--workers", 4, "--group-size", 2)
        for size in (0, -1, "two"):
            self.refused("--group-size", "--workers", 4, *hybrid(size))
        self.refused("--cache replicate with --mode hybrid", "--workers", 4, *hybrid(2), "--cache", "replicate")

    def test_a_partition_has_as_many_parts_as_a_group(self):
        for parts in (2, 4):
            self.must("partition", self.dataset, "--parts", parts, "--out", self.scratch / f"parts-{parts}")
        self.run_with("--max-steps", 2, "--workers", 4, *hybrid(2), "--partition", self.scratch / "parts-2")
        self.refused("4 parts for groups of 2 workers", "--workers", 4, *hybrid(2), "--partition", self.scratch / "parts-4")

    def test_dry_run_names_the_groups(self):
        said = self.must("train", self.dataset, "--run-dir", self.scratch / "dry", *SMALL, "--workers", 4, *hybrid(2),
                         "--dry-run").stdout
        self.assertIn("mode hybrid, route pull, 4 workers in groups of 2", said)

    def test_resumes_exactly(self):
        fixed = ["--lr-schedule", "constant", "--workers", 4, *hybrid(2)]
        expected = self.run_with(*fixed, "--epochs", 4)
        run_dir = self.run_with(*fixed, "--epochs", 2)
        self.assertIn("group-size: 2\n", (run_dir / "config.yaml").read_text(encoding="utf-8"))
        self.must("train", self.dataset, "--run-dir", run_dir, "--resume", "--epochs", 4)
        self.assertEqual(harness.losses(run_dir), harness.losses(expected))
        weights = "checkpoints/final/model.safetensors"
        self.assertEqual((run_dir / weights).read_bytes(), (expected / weights).read_bytes())

    def test_resumes_on_other_groups_in_fp64(self):
        fixed = ["--lr-schedule", "constant", "--precision", "fp64"]
        expected = self.run_with(*fixed, "--workers", 1, "--epochs", 4)
        run_dir = self.run_with(*fixed, "--workers", 4, *hybrid(2), "--epochs", 2)
        done = self.gsplit("train", self.dataset, "--run-dir", run_dir, "--resume", "--epochs", 4, "--workers", 3)
        self.assertEqual(done.returncode, 2)
        self.assertIn("--group-size 2 does not divide the 3 workers", done.stderr)
        self.must("train", self.dataset, "--run-dir", run_dir, "--resume", "--epochs", 4, "--workers", 6, "--group-size", 3)
        self.assert_agree(harness.losses(run_dir), harness.losses(expected), ("resumed",))


class P3(Modes):
    """The first layer from slices of the features' columns."""

    MODELS = ("sage", "gcn", "gin")

    def test_fp64_agrees_to_1e_9_over_50_steps(self):
        for model in self.MODELS:
            fixed = ["--model", model, *FP64]
            reference = self.curve("--workers", 1, *fixed)
            for workers in (1, 2, 4):
                curve = self.curve("--mode", "p3", "--workers", workers, *fixed)
                self.assert_agree(curve, reference, (model, workers, "threads"))
            # 16 columns for 3 workers: 5, 5 and 6.
            self.assert_agree(self.curve("--mode", "p3", *fixed, ranks=3), reference, (model, "3 processes"))

    def test_agrees_with_all_parts_of_a_model(self):
        # With 16 hidden columns the first layer adds its input to its output.
        for model in self.MODELS:
            for rest in (["--norm", "layer", "--residual", "--hidden", 16, "--fanout", "4,3,3"],
                         ["--normalize-features", "row", "--class-weights", "balanced", "--input-dropout", 0],
                         ["--order", "transform", "--fanout", "4"], ["--sampler", "labor", "--input-dropout", 0]):
                fixed = ["--model", model, *FP64, *rest]
                self.assert_agree(self.curve("--mode", "p3", "--workers", 3, *fixed), self.curve("--workers", 1, *fixed),
                                  (model, *rest))

    def test_agrees_with_edge_weights(self):
        dataset = self.generate("weighted")
        edges = np.load(dataset / "edges.npy")
        harness.add_edge_weights(dataset, np.random.default_rng(1).uniform(0, 2, edges.shape[1]).astype(np.float32))
        for model in ("sage", "gcn"):
            one, other = (harness.losses(self.train(dataset, "--eval-every", 0, *SMALL, "--model", model, *FP64, *how))
                          for how in (["--workers", 1], ["--workers", 4, "--mode", "p3"]))
            self.assert_agree(other, one, (model, "weighted"))

    def test_bf16_stays_near(self):
        for model in self.MODELS:
            for precision in (["--precision", "bf16"], ["--wire", "bf16"]):
                fixed = ["--model", model, "--max-steps", 10, *precision]
                for ours, theirs in zip(self.curve("--mode", "p3", "--workers", 4, *fixed),
                                        self.curve("--mode", "data", "--workers", 4, *fixed), strict=True):
                    self.assertAlmostEqual(ours, theirs, delta=0.03)

    def test_counts_partial_sums_and_blocks(self):
        workers, width = 4, 24
        data, p3 = (self.run_with("--max-steps", 5, "--workers", workers, "--mode", mode, "--dump-blocks",
                                  self.scratch / f"dump-{mode}") for mode in ("data", "p3"))
        self.assertEqual((self.scratch / "dump-p3").read_bytes(), (self.scratch / "dump-data").read_bytes())
        for ours, theirs in zip(harness.events(p3, "step"), harness.events(data, "step"), strict=True):
            for field in ("edges", "input_rows", "seeds", "allreduce_bytes"):
                self.assertEqual(ours[field], theirs[field], field)
            # A sum and its gradient of each destination for each other worker; the columns that a worker lacks.
            self.assertEqual(ours["shuffle_bytes"] % (2 * (workers - 1) * width * 4), 0)
            self.assertGreater(ours["shuffle_bytes"], 2 * (workers - 1) * width * 4 * ours["seeds"])
            self.assertEqual(ours["shuffle_bytes_pull"], ours["input_rows"] * 16 * 4 * (workers - 1) // workers)
            self.assertGreater(ours["plan_bytes"], 4 * ours["input_rows"] * (workers - 1))

    def test_transports_agree_to_the_bit(self):
        fixed = ["--epochs", 2, "--mode", "p3"]
        self.assertEqual(self.curve(*fixed, "--workers", 4, "--threads", 1), self.curve(*fixed, ranks=4))

    def test_evaluates_and_resumes_exactly(self):
        fixed = ["--lr-schedule", "constant", "--workers", 4, "--mode", "p3", "--eval-every", 1]
        expected = self.run_with(*fixed, "--epochs", 4)
        run_dir = self.run_with(*fixed, "--epochs", 2)
        self.must("train", self.dataset, "--run-dir", run_dir, "--resume", "--epochs", 4)
        self.assertEqual(harness.losses(run_dir), harness.losses(expected))
        for one, other in zip(harness.events(run_dir, "epoch"), harness.events(expected, "epoch"), strict=True):
            self.assertEqual(one["valid_acc"], other["valid_acc"])

    def test_wrong_use_is_refused(self):
        self.refused("--mode p3 with --model gat", "--mode", "p3", "--model", "gat")
        self.refused("--mode p3 with 17 workers for 16 feature columns", "--mode", "p3", "--workers", 17, "--threads", 1)


class Auto(Modes):
    """The mode that is estimated to be fastest."""

    def auto(self, *arguments, ranks=None):
        """What a run of mode auto says, its directory and the mode that it recorded, with its group size."""
        type(self).runs += 1
        run_dir = self.scratch / f"auto-{self.runs}"
        said = self.must("train", self.dataset, "--run-dir", run_dir, "--mode", "auto", "--eval-every", 0, *SMALL, *arguments,
                         ranks=ranks).stdout
        config = dict(line.split(": ", 1) for line in (run_dir / "config.yaml").read_text(encoding="utf-8").splitlines())
        return said, run_dir, (config["mode"], config.get("group-size"))

    def test_takes_the_least_of_its_estimates_and_records_it(self):
        for arguments, ranks in ((["--workers", 4], None), ([], 4), (["--workers", 6, "--model", "gin"], None)):
            said, run_dir, recorded = self.auto("--max-steps", 3, *arguments, ranks=ranks)
            found = {(mode, size or None): float(milliseconds) for mode, size, milliseconds in re.findall(
                r"mode auto: (\w+)(?: in groups of (\d+))?: ([0-9.]+) ms a step", said)}
            expected = {("split", None), ("data", None), *(("hybrid", size) for size in (("2", "3") if "--model" in arguments else "2"))}
            self.assertEqual(set(found), expected)
            self.assertEqual(found[recorded], min(found.values()), found)
            self.assertIn(f"mode auto: takes {recorded[0]}", said)
            self.assertIn(f"mode: {recorded[0]}\n", harness.events(run_dir, "run_start")[0]["config"])

    def test_its_curve_is_that_of_split(self):
        fixed = ["--precision", "fp64", "--max-steps", 20, *DROPOUT]
        _, run_dir, _ = self.auto("--workers", 4, *fixed)
        self.assert_agree(harness.losses(run_dir), self.curve("--workers", 1, *fixed), ("auto",))

    def test_a_given_partition_decides(self):
        for parts, mode in ((1, ("data", None)), (2, ("hybrid", "2")), (4, ("split", None))):
            out = self.scratch / f"auto-parts-{parts}"
            self.must("partition", self.dataset, "--parts", parts, "--out", out)
            self.assertEqual(self.auto("--max-steps", 2, "--workers", 4, "--partition", out)[2], mode)

    def test_one_worker_has_no_choice(self):
        said, _, recorded = self.auto("--max-steps", 2, "--workers", 1)
        self.assertEqual(recorded, ("split", None))
        self.assertNotIn("ms a step", said)

    def test_resumes_with_what_it_took(self):
        # What it would not take now, so that the record decides.
        out = self.scratch / "auto-resume-parts"
        self.must("partition", self.dataset, "--parts", 2, "--out", out)
        _, run_dir, recorded = self.auto("--epochs", 2, "--workers", 4, "--partition", out, "--lr-schedule", "constant")
        self.assertEqual(recorded, ("hybrid", "2"))
        for epochs, flags in ((3, []), (4, ["--mode", "auto"])):
            said = self.must("train", self.dataset, "--run-dir", run_dir, "--resume", "--epochs", epochs, *flags,
                             "--partition", "metis").stdout
            self.assertNotIn("mode auto", said)
            self.assertIn("mode: hybrid\ngroup-size: 2\n", (run_dir / "config.yaml").read_text(encoding="utf-8"))
        expected = self.run_with("--epochs", 4, "--workers", 4, *hybrid(2), "--lr-schedule", "constant")
        self.assertEqual(len(harness.losses(run_dir)), len(harness.losses(expected)))

    def test_wrong_use_is_refused(self):
        self.refused("--group-size 2 with --mode auto", "--mode", "auto", "--workers", 4, "--group-size", 2)
        self.refused("--mode auto with 65 workers", "--mode", "auto", "--workers", 65, "--threads", 1)


if __name__ == "__main__":
    unittest.main()
