"""Promise 1: any number of workers, any partition, any transport: one answer."""

import unittest

import harness

SMALL = ["--fanout", "4,3", "--hidden", "24", "--batch-size", "200"]
MODELS = ("sage", "gcn", "gat", "gin")
PARTITIONS = ("metis", "random", "range")
DROPOUT = ["--dropout", 0.5, "--attn-dropout", 0.3, "--input-dropout", 0.2]


class Blocks(harness.Scratch):
    """The sampled blocks are the same file."""

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.dataset = cls.generate("graph")

    def dump(self, *arguments, ranks=None):
        path = self.scratch / "blocks"
        path.unlink(missing_ok=True)
        self.train(self.dataset, "--max-steps", 3, "--eval-every", 0, *SMALL, "--dump-blocks", path, *arguments,
                   ranks=ranks)
        return path.read_bytes()

    def test_are_equal_for_any_workers_partition_and_transport(self):
        reference = self.dump("--workers", 1)
        self.assertGreater(reference.count(b"\n"), 600)
        for workers in (2, 3, 4, 8):
            for method in ("metis", "stream", "random", "range"):
                self.assertEqual(self.dump("--workers", workers, "--partition", method), reference, (workers, method))
        for ranks in (1, 2, 4):
            self.assertEqual(self.dump(ranks=ranks), reference, ranks)

    def test_depend_on_the_seed(self):
        self.assertNotEqual(self.dump("--seed", 1), self.dump("--seed", 2))

    def test_are_canonical(self):
        rows = [list(map(int, line.split())) for line in self.dump("--workers", 3).splitlines()]
        self.assertEqual(rows, sorted(rows, key=lambda row: row[:3]))
        for row in rows:
            self.assertEqual(row[3:], sorted(row[3:]))
            self.assertLessEqual(len(row) - 3, 4 if row[1] == 2 else 3)


class Curves(harness.Scratch):
    """Loss curves agree over workers, partitions and transports."""

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.dataset = cls.generate("graph")

    def curve(self, *arguments, ranks=None):
        return harness.losses(self.train(self.dataset, "--eval-every", 0, *SMALL, *arguments, ranks=ranks))

    def assert_agree(self, curve, reference, what):
        for step, (ours, theirs) in enumerate(zip(curve, reference, strict=True), 1):
            self.assertLess(abs(ours - theirs), 1e-9, (*what, f"step {step}"))

    def test_fp64_agrees_to_1e_9_over_50_steps(self):
        for model in MODELS:
            fixed = ["--model", model, "--precision", "fp64", "--max-steps", 50, *DROPOUT]
            reference = self.curve("--workers", 1, *fixed)
            self.assertEqual(len(reference), 50)
            self.assertLess(min(reference[-5:]), reference[0])
            self.assert_agree(self.curve(*fixed, ranks=1), reference, (model, "1 process"))
            for workers in (2, 4):
                for method in PARTITIONS:
                    rest, what = ["--partition", method, *fixed], (model, method, workers)
                    self.assert_agree(self.curve("--workers", workers, *rest), reference, (*what, "threads"))
                    self.assert_agree(self.curve(*rest, ranks=workers), reference, (*what, "processes"))

    def test_fp64_agrees_for_8_workers(self):
        fixed = ["--model", "gat", "--precision", "fp64", "--max-steps", 50, *DROPOUT]
        reference = self.curve("--workers", 1, *fixed)
        for method in PARTITIONS:
            curve = self.curve("--workers", 8, "--partition", method, *fixed)
            self.assert_agree(curve, reference, (method, "8 threads"))
        self.assert_agree(self.curve(*fixed, ranks=8), reference, ("8 processes",))

    def test_every_dropout_counts(self):
        fixed = ["--model", "gat", "--precision", "fp64", "--max-steps", 2, "--workers", 2]
        kinds = [DROPOUT[i : i + 2] for i in range(0, len(DROPOUT), 2)]
        self.assertEqual([name for name, _ in kinds], ["--dropout", "--attn-dropout", "--input-dropout"])
        everything = self.curve(*fixed, *DROPOUT)
        for name, _ in kinds:
            self.assertNotEqual(self.curve(*fixed, *DROPOUT, name, 0), everything, name)

    def test_fp64_agrees_for_every_model_with_all_its_parts(self):
        for model in MODELS:
            fixed = ["--precision", "fp64", "--max-steps", 50, "--model", model, *DROPOUT,
                     "--norm", "layer", "--residual", "--hidden", 16, "--fanout", "4,3,3"]
            reference = self.curve("--workers", 1, *fixed)
            curve = self.curve("--workers", 4, "--partition", "random", *fixed)
            self.assert_agree(curve, reference, (model, "4 threads"))
            self.assert_agree(self.curve(*fixed, ranks=3), reference, (model, "3 processes"))

    def test_fp32_agrees_to_1e_4_over_10_steps(self):
        reference = self.curve("--workers", 1, "--max-steps", 10)
        for workers in (2, 4):
            for ours, theirs in zip(self.curve("--workers", workers, "--max-steps", 10), reference, strict=True):
                self.assertLess(abs(ours - theirs), 1e-4)


class Bits(harness.Scratch):
    """The same number of workers gives the same bits, whatever the threads and the transport."""

    def test_weights_are_byte_equal(self):
        dataset = self.generate("graph")

        def weights(*arguments, ranks=None):
            run_dir = self.train(dataset, "--epochs", 2, *SMALL, *arguments, ranks=ranks)
            return (run_dir / "checkpoints" / "final" / "model.safetensors").read_bytes()

        for workers in (1, 3):
            reference = weights("--workers", workers, "--threads", 1)
            self.assertEqual(weights("--workers", workers, "--threads", 1), reference)
            for threads in (2, 5):
                self.assertEqual(weights("--workers", workers, "--threads", threads), reference, threads)
            self.assertEqual(weights(ranks=workers), reference)


if __name__ == "__main__":
    unittest.main()
