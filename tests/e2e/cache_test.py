"""--cache changes where feature rows come from, not the answer."""

import os
import unittest

import harness
import numpy as np

# On the CPU: rows in the memory of a GPU count as cached.
SMALL = ["--fanout", "4,3", "--hidden", "24", "--batch-size", "200", "--device", "cpu"]
DROPOUT = ["--dropout", 0.5, "--attn-dropout", 0.3, "--input-dropout", 0.2]
FULL = "GSPLIT_FULL_TESTS" in os.environ
SPLIT = ["--mode", "split", "--cache", "replicate", "--partition", "random"]
DATA = ["--mode", "data", "--cache"]


def without_cache(arguments):
    """The same flags but those of the cache."""
    return [flag for i, flag in enumerate(arguments)
            if not str(flag).startswith("--cache") and not (i > 0 and str(arguments[i - 1]).startswith("--cache"))]


class CacheTest(harness.Scratch):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.dataset = cls.generate("graph")

    def run_with(self, *arguments, ranks=None, dataset=None):
        return self.train(dataset or self.dataset, *SMALL, *arguments, ranks=ranks)

    def steps(self, *arguments, ranks=None):
        return harness.events(self.run_with("--eval-every", 0, *arguments, ranks=ranks), "step")

    def assert_agree(self, ours, theirs, what):
        for step, (our, their) in enumerate(zip(ours, theirs, strict=True), 1):
            self.assertLess(abs(our - their), 1e-9, (*what, f"step {step}"))


class Curves(CacheTest):
    """Loss curves."""

    def curve(self, *arguments, ranks=None):
        return [step["loss"] for step in self.steps(*arguments, ranks=ranks)]

    def test_fp64_agrees_to_1e_9_over_50_steps(self):
        every = [(workers, how) for workers in (2, 4) for how in (SPLIT, [*DATA, "replicate"], [*DATA, "partition"])]
        for model, cases in (("sage", [(2, [*DATA, "replicate"]), (4, SPLIT)]), ("gcn", [(4, SPLIT), (4, [*DATA, "partition"])]),
                             ("gat", [(2, SPLIT), (4, [*DATA, "replicate"])]), ("gin", [(4, SPLIT), (2, [*DATA, "partition"])])):
            fixed = ["--model", model, "--precision", "fp64", "--max-steps", 50, *DROPOUT]
            reference = self.curve("--workers", 1, *fixed)
            for workers, how in every if FULL else cases:
                self.assert_agree(self.curve("--workers", workers, *how, *fixed), reference, (model, workers, *how))
            if model == "sage" or FULL:
                for how in (SPLIT, [*DATA, "partition"]):
                    self.assert_agree(self.curve(*how, *fixed, ranks=3), reference, (model, "3 processes", *how))

    def test_split_agrees_with_every_route_and_order(self):
        cases = {"sage": ("push", "mixed", "project"), "gcn": ("mixed",), "gat": ("project",)}
        every = {"sage": ("push", "mixed", "auto", "project"), "gcn": ("push", "mixed", "project"), "gin": ("mixed",), "gat": ("project",)}
        for model, flags in (every if FULL else cases).items():
            fixed = ["--model", model, "--precision", "fp64", "--max-steps", 30, *DROPOUT]
            reference = self.curve("--workers", 1, *fixed)
            for route in flags:
                self.assert_agree(self.curve("--workers", 3, "--route", route, *SPLIT, *fixed), reference, (model, route))
        for order in ("aggregate", "transform"):
            self.assert_agree(self.curve("--workers", 3, "--order", order, "--route", "pull", "--model", "gat", *SPLIT, *fixed),
                              reference, (order,))

    def test_bits_are_those_of_no_cache(self):
        # Rows that are pulled and summed keep their order, so nothing is left to differ.
        split = [*SPLIT, "--route", "pull", "--order", "aggregate"]
        kinds = ([], ["--normalize-features", "row", "--input-dropout", 0.3], ["--normalize-features", "row", "--precision", "bf16"])
        for name, more in [(name, more) for name in ("fp32", "fp16", "bf16") for more in kinds]:
            if not FULL and (name == "bf16" or (name == "fp16") == (more == kinds[1])):
                continue
            dataset = self.dataset if name == "fp32" else self.generate(f"{name}-{len(more)}", feature_dtype=name)
            fixed = ["--max-steps", 5, "--workers", 3, "--model", "gcn", *more]
            for plain, cached in ((without_cache(split), [split]), (["--mode", "data"], [[*DATA, "replicate"], [*DATA, "partition"]])):
                reference = self.outcome(*fixed, *plain, dataset=dataset)
                for how in cached:
                    self.assertEqual(self.outcome(*fixed, *how, dataset=dataset), reference, (name, *how, *more))

    def outcome(self, *arguments, dataset):
        """Losses, scores and weights."""
        run_dir = self.run_with(*arguments, dataset=dataset)
        end = harness.events(run_dir, "run_end")[0]
        weights = (run_dir / "checkpoints" / "final" / "model.safetensors").read_bytes()
        return harness.losses(run_dir), end["best_valid_acc"], end["test_acc"], weights

    def test_bits_do_not_depend_on_threads_and_transport(self):
        for how in (SPLIT, [*DATA, "partition"]):
            fixed = ["--max-steps", 8, "--wire", "bf16", *how]
            reference = self.curve(*fixed, "--workers", 3, "--threads", 1)
            self.assertEqual(self.curve(*fixed, "--workers", 3, "--threads", 4), reference)
            self.assertEqual(self.curve(*fixed, ranks=3), reference)

    def test_other_samplers_and_weights(self):
        for sampler in ("labor", "weighted"):
            dataset = self.generate(sampler)
            if sampler == "weighted":
                edges = max(np.load(dataset / "edges.npy", mmap_mode="r").shape)
                harness.add_edge_weights(dataset, np.random.default_rng(1).integers(1, 9, edges).astype(np.float32))
            fixed = ["--sampler", sampler, "--precision", "fp64", "--max-steps", 10, "--eval-every", 0, *DROPOUT]
            reference = harness.losses(self.run_with("--workers", 1, *fixed, dataset=dataset))
            for how in (SPLIT, [*DATA, "replicate"]):
                curve = harness.losses(self.run_with("--workers", 3, *how, *fixed, dataset=dataset))
                self.assert_agree(curve, reference, (sampler, *how))

    def test_the_dumped_blocks_are_equal(self):
        dumps = set()
        for name, how in (("none", ["--partition", "random"]), ("split", SPLIT), ("data", [*DATA, "partition"])):
            self.steps("--workers", 3, "--max-steps", 2, "--dump-blocks", self.scratch / name, *how)
            dumps.add((self.scratch / name).read_bytes())
        self.assertEqual(len(dumps), 1)


class Counts(CacheTest):
    """Where rows came from."""

    BUDGETS = (0, 0.1, 0.3, 1)

    def sweep(self, *arguments):
        """By budget the sums over some steps; in each step the sources add up, and so do other counts."""
        sums = {}
        plain = self.steps("--workers", 4, "--max-steps", 4, *without_cache(arguments))
        for budget in self.BUDGETS:
            steps = self.steps("--workers", 4, "--max-steps", 4, *arguments, "--cache-budget", budget)
            for ours, theirs in zip(steps, plain, strict=True):
                self.assertEqual(ours["rows_cache"] + ours["rows_remote"] + ours["rows_disk"], ours["input_rows"])
                self.assertLessEqual(ours["rows_cache"] if "split" in arguments else 0, ours["rows_copied"])
                for field in ("input_rows", "edges", "allreduce_bytes"):
                    self.assertEqual(ours[field], theirs[field], (field, budget))
            sums[budget] = {field: sum(step[field] for step in steps)
                            for field in ("input_rows", "rows_cache", "rows_remote", "rows_disk", "rows_copied",
                                          "shuffle_bytes", "shuffle_bytes_pull", "plan_bytes")}
        return sums, {field: sum(step[field] for step in plain) for field in sums[0]}

    def assert_grows(self, sums, field):
        values = [sums[budget][field] for budget in self.BUDGETS]
        self.assertEqual(values, sorted(values))
        self.assertEqual(len(set(values)), len(values), field)

    def test_data_replicate(self):
        sums, plain = self.sweep(*DATA, "replicate")
        self.assertEqual(sums[0], plain)
        self.assert_grows(sums, "rows_cache")
        self.assertEqual(sums[1]["rows_cache"], sums[1]["input_rows"])
        for budget in self.BUDGETS:
            self.assertEqual((sums[budget]["rows_remote"], sums[budget]["shuffle_bytes"], sums[budget]["plan_bytes"]), (0, 0, 0))
        # The hottest rows are read more often than others.
        self.assertGreater(sums[0.3]["rows_cache"], 0.33 * sums[0.3]["input_rows"])

    def test_data_partition(self):
        sums, plain = self.sweep(*DATA, "partition")
        for field in ("rows_cache", "rows_remote", "shuffle_bytes"):
            self.assertEqual(sums[0][field], 0)
        self.assertEqual(sums[0]["rows_disk"], plain["rows_disk"])
        for few, many in ((0, 0.1), (0.1, 0.3)):
            for field in ("rows_cache", "rows_remote", "shuffle_bytes"):
                self.assertLess(sums[few][field], sums[many][field], field)
        # Four times 0.3 holds everything.
        for budget in (0.3, 1):
            self.assertEqual(sums[budget]["rows_disk"], 0)
            self.assertGreater(sums[budget]["rows_cache"], 0)
        for budget in self.BUDGETS:
            self.assertEqual(sums[budget]["shuffle_bytes"], sums[budget]["rows_remote"] * 16 * 4)
            self.assertEqual(sums[budget]["shuffle_bytes_pull"], sums[budget]["shuffle_bytes"])

    def test_split_replicate(self):
        for route in ("pull", "push", "mixed", "auto") if FULL else ("pull", "mixed"):
            sums, plain = self.sweep(*SPLIT, "--order", "aggregate", "--route", route)
            self.assertEqual({field: value for field, value in sums[0].items() if field != "plan_bytes"},
                             {field: value for field, value in plain.items() if field != "plan_bytes"})
            for budget in self.BUDGETS:
                self.assertEqual(sums[budget]["rows_remote"], 0)
                self.assertEqual(sums[budget]["shuffle_bytes_pull"], plain["shuffle_bytes_pull"])
                if route == "pull":  # each copy that is read is a row that is not sent
                    spared = plain["shuffle_bytes"] - sums[budget]["shuffle_bytes"]
                    self.assertEqual(spared, sums[budget]["rows_copied"] * 16 * 4)
            self.assert_grows(sums, "rows_cache")
            self.assert_grows(sums, "rows_copied")
            for few, many in zip(self.BUDGETS, self.BUDGETS[1:]):
                self.assertGreater(sums[few]["shuffle_bytes"], sums[many]["shuffle_bytes"], route)

    def test_wire_bf16_halves_what_travels(self):
        for how in (SPLIT, [*DATA, "partition"]):
            fixed = ["--workers", 4, "--max-steps", 3, "--route", "pull", *how]
            for ours, theirs in zip(self.steps(*fixed, "--wire", "bf16"), self.steps(*fixed), strict=True):
                self.assertGreater(theirs["shuffle_bytes"], 0)
                self.assertEqual(2 * ours["shuffle_bytes"], theirs["shuffle_bytes"])
                self.assertEqual(ours["shuffle_bytes_pull"], theirs["shuffle_bytes_pull"])

    def test_one_worker(self):
        plain = self.steps("--workers", 1, "--max-steps", 3)
        for how in (SPLIT, [*DATA, "replicate"], [*DATA, "partition"]):
            steps = self.steps("--workers", 1, "--max-steps", 3, *how, "--cache-budget", 1)
            self.assertEqual([step["loss"] for step in steps], [step["loss"] for step in plain])
            for step in steps:
                self.assertEqual(step["shuffle_bytes"], 0)
                self.assertEqual(step["rows_cache"], 0 if how is SPLIT else step["input_rows"])

    def test_dry_run_counts_the_memory(self):
        for how, rows in (([*DATA, "replicate"], 1500), ([*DATA, "partition"], 1000)):
            said = self.must("train", self.dataset, "--run-dir", self.scratch / "dry", *SMALL, "--workers", 3, *how,
                             "--cache-budget", 0.5, "--dry-run").stdout
            self.assertIn(f"feature cache {rows * 16 * 4 / 2**20:.1f} MiB", said)


class Runs(CacheTest):
    """Configuration, resuming, refusals."""

    def test_resume_is_exact(self):
        for how in (SPLIT, [*DATA, "partition"]):
            fixed = ["--workers", 3, *how, "--cache-budget", 0.3, *DROPOUT]
            whole = self.run_with("--max-steps", 12, *fixed)
            part = self.run_with("--max-steps", 6, *fixed)
            self.assertIn(f"cache: {how[how.index('--cache') + 1]}\ncache-budget: 0.3\n",
                          (part / "config.yaml").read_text(encoding="utf-8"))
            self.must("train", self.dataset, "--run-dir", part, "--resume", "--max-steps", 12)
            self.assertEqual(harness.losses(part), harness.losses(whole))
            final = [(run / "checkpoints" / "final" / "model.safetensors").read_bytes() for run in (part, whole)]
            self.assertEqual(*final)

    def test_resume_on_another_number_of_workers(self):
        fixed = ["--precision", "fp64", "--eval-every", 0, *SPLIT, *DROPOUT]
        whole = self.run_with("--max-steps", 12, "--workers", 3, *fixed)
        part = self.run_with("--max-steps", 6, "--workers", 3, *fixed)
        self.must("train", self.dataset, "--run-dir", part, "--resume", "--max-steps", 12, "--workers", 4)
        self.assert_agree(harness.losses(part), harness.losses(whole), SPLIT)
        said = self.must("evaluate", part, self.dataset, "--json").stdout
        self.assertEqual(harness.json.loads(said)["test_acc"], harness.events(part, "run_end")[0]["test_acc"])

    def test_a_run_goes_on_without_its_cache(self):
        fixed = ["--workers", 3, *DATA, "replicate", "--cache-budget", 0.3]
        whole, part = self.run_with("--max-steps", 8, *fixed), self.run_with("--max-steps", 4, *fixed)
        self.must("train", self.dataset, "--run-dir", part, "--resume", "--max-steps", 8, "--cache", "none")
        self.assertEqual(harness.losses(part), harness.losses(whole))
        self.assertEqual(harness.events(part, "step")[-1]["rows_cache"], 0)

    def test_counts_are_kept(self):
        fixed = ["--workers", 2, "--max-steps", 1, "--seed", 77, *DATA, "replicate"]
        for again in (False, True):
            said = self.must("train", self.dataset, "--run-dir", self.scratch / f"kept-{again}", *SMALL, *fixed).stdout
            self.assertEqual("counted the reads of feature rows" in said, not again)

    def test_a_partition_by_directory(self):
        self.must("partition", self.dataset, "--parts", 3, "--method", "random", "--out", self.scratch / "parts")
        how = ["--workers", 3, "--max-steps", 3, "--partition", self.scratch / "parts"]
        cached = self.steps(*how, "--cache", "replicate")
        self.assertGreater(sum(step["rows_cache"] for step in cached), 0)
        self.assertLess(sum(step["shuffle_bytes"] for step in cached), sum(step["shuffle_bytes"] for step in self.steps(*how)))

    def test_refusals(self):
        for arguments, names in ((["--cache", "replicate", "--cache-budget", "-0.1"], "--cache-budget"),
                                 (["--cache", "replicate", "--cache-budget", "1.01"], "--cache-budget"),
                                 (["--cache", "replicate", "--cache-budget", "much"], "--cache-budget"),
                                 (["--cache", "replicate", "--cache-budget", "nan"], "--cache-budget"),
                                 (["--cache-budget", "0.2"], "--cache-budget without --cache"),
                                 (["--cache", "none", "--cache-budget", "0.2"], "--cache-budget without --cache"),
                                 (["--cache", "everything"], "--cache"),
                                 (["--cache", "replicate", "--gpu-features", "pinned"], "--gpu-features pinned with --cache"),
                                 (["--cache", "replicate", "--gpu-graph", "device"], "--gpu-graph device with --cache"),
                                 (["--cache", "replicate", "--mode", "p3"], "--cache replicate with --mode p3"),
                                 (["--cache", "replicate", "--mode", "auto"], "--cache replicate with --mode auto"),
                                 (["--cache", "partition", "--mode", "hybrid", "--group-size", 2, "--workers", 2], "--cache partition with --mode hybrid"),
                                 (["--cache", "partition"], "--cache partition with --mode split")):
            done = self.gsplit("train", self.dataset, "--run-dir", self.scratch / "refused", *arguments)
            self.assertEqual(done.returncode, 2, arguments)
            self.assertIn(names, done.stderr)
            self.assertEqual(len(done.stderr.strip().splitlines()), 1, done.stderr)
            self.assertFalse((self.scratch / "refused").exists())


if __name__ == "__main__":
    unittest.main()
