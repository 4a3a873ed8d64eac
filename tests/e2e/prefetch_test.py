"""--prefetch: steps that are sampled and loaded while others are computed change nothing but the time."""

import concurrent.futures
import os
import signal
import unittest

import fault_test
import harness

SMALL = ["--fanout", "4,3", "--hidden", "24", "--batch-size", "200", "--input-dropout", 0.2]
MEASURED = ("_s", "time", "rss_bytes")


def counted(fields):
    """Without what is measured."""
    return {key: counted(value) if isinstance(value, dict) else value for key, value in fields.items() if not key.endswith(MEASURED)}


def counts(run_dir):
    return [counted(event) for event in harness.events(run_dir, "step")]


class Bits(harness.Scratch):
    """Weights and counts are those of a run that prepares nothing ahead."""

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.dataset = cls.generate("graph")

    def result(self, *arguments, ranks=None):
        run_dir = self.train(self.dataset, "--epochs", 2, *SMALL, *arguments, ranks=ranks)
        return counts(run_dir), (run_dir / "checkpoints" / "final" / "model.safetensors").read_bytes()

    def test_do_not_depend_on_it(self):
        for flags in (["--workers", 1], ["--workers", 3, "--route", "mixed"], ["--workers", 2, "--cache", "replicate"],
                      ["--workers", 3, "--mode", "data"], ["--workers", 2, "--mode", "data", "--cache", "partition"],
                      ["--workers", 2, "--model", "gcn", "--normalize-features", "row", "--eval-fanout", "3,3"]):
            reference = self.result(*flags, "--prefetch", 0)
            self.assertGreater(len(reference[0]), 2)
            for steps in (1, 3):
                self.assertEqual(self.result(*flags, "--prefetch", steps), reference, (flags, steps))

    def test_between_processes(self):
        reference = self.result("--workers", 3, "--prefetch", 0)
        for steps in (0, 2):
            self.assertEqual(self.result("--prefetch", steps, ranks=3), reference)

    def test_resumes_with_another_number(self):
        flags = ["--workers", 2, "--epochs", 2, *SMALL]
        whole = self.train(self.dataset, *flags, "--prefetch", 2)
        part = self.train(self.dataset, *flags, "--prefetch", 3, "--max-steps", 3)
        self.must("train", "--resume", "--run-dir", part, "--prefetch", 1, "--max-steps", len(counts(whole)))
        weights = [path / "checkpoints" / "final" / "model.safetensors" for path in (whole, part)]
        self.assertEqual(weights[0].read_bytes(), weights[1].read_bytes())

    def test_is_not_of_every_mode(self):
        for flags in (["--mode", "p3"], ["--mode", "hybrid", "--group-size", 2], ["--dump-blocks", self.scratch / "blocks"]):
            done = self.gsplit("train", self.dataset, "--run-dir", self.scratch / "refused", *SMALL, "--workers", 4, *flags,
                               "--prefetch", 1)
            self.assertEqual(done.returncode, 2, done.stderr)
            self.assertIn("--prefetch", done.stderr)
            self.assertEqual(len(done.stderr.strip().splitlines()), 1)


class Faults(fault_test.FaultTest):
    """A worker that is lost while it samples ahead, or computes meanwhile, is found as ever."""

    def test_the_lost_are_named(self):
        cases = [("KILL", "sampling", 1), ("STOP", "compute", 2), ("absent", "sampling", 2), ("absent", "compute", 1)]

        def run(case):
            kind, phase, rank = case
            end = "signal=USR1,after=120" if kind == "absent" else f"signal={kind},after={fault_test.IN_PHASE}"
            return fault_test.Job(self, f"ahead-{kind}-{phase}", f"rank={rank},phase={phase},step={fault_test.STEP - 1},{end}",
                                  options=["--prefetch", "2"]).outcome()

        with concurrent.futures.ThreadPoolExecutor(fault_test.AT_ONCE) as pool:
            outcomes = list(pool.map(run, cases))
        for (kind, phase, rank), outcome in zip(cases, outcomes, strict=True):
            print(f"ahead: {kind} in {phase} of rank {rank}: {outcome.seconds:.1f} s, exit {outcome.code}", *outcome.lines)
            with self.subTest(kind=kind, phase=phase):
                self.assert_ended(outcome)
                self.assertEqual(len(outcome.lines), 1, outcome.stderr)
                self.assertRegex(outcome.lines[0], rf"^gsplit: rank {rank} on \S.* failed in .+ at step \d+: .+; .+$")

    def test_stops_in_good_order(self):
        job = fault_test.Job(self, "ahead-stop", options=["--prefetch", "2"])
        self.assertTrue(job.await_steps(4))
        os.kill(next(pid for pid in harness.children(job.process.pid) if harness.is_gsplit(pid)), signal.SIGUSR1)
        outcome = job.outcome()
        self.assert_stopped(outcome)
        self.assertEqual(outcome.code, 130)


if __name__ == "__main__":
    unittest.main()
