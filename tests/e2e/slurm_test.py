"""deploy/slurm/train.sbatch by a real Slurm (slurmctld, slurmd, munged, sbatch, srun) on hosts of its own.

By default one job loses a rank, is stopped as before its time limit, is queued again and ends; with GSPLIT_FULL_TESTS=1
also the limit itself, scancel, the loss of a host, and the matrix of faults under srun.
"""

import os
import pathlib
import signal
import sys
import tempfile
import time
import unittest

import fault_test
import harness
import hosts
import slurm
from fault_test import await_condition

FULL = bool(os.environ.get("GSPLIT_FULL_TESTS"))
only_in_full = unittest.skipUnless(FULL, "only with GSPLIT_FULL_TESTS=1")
SCRIPT = harness.SOURCE / "deploy" / "slurm" / "train.sbatch"
RUN = ["--fanout", "4,3", "--hidden", "16", "--batch-size", "64", "--lr", "0.01", "--threads", "1", "--deadline", 3,
       "--partition", "random", "--checkpoint-every-steps", "7", "--eval-every", 0]
FINAL = "checkpoints/final/model.safetensors"


def setUpModule():
    tempfile.tempdir = "/var/tmp"  # hosts have a /tmp of their own


class Batch(harness.Scratch):
    """Jobs of two hosts, of three that there are."""

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.dataset = cls.generate("graph", nodes=5000, degree=8, features=8, classes=4)
        cls.hosts = hosts.Hosts(3 if FULL else 2)
        cls.slurm = slurm.Slurm(cls.hosts)

    @classmethod
    def tearDownClass(cls):
        cls.slurm.close()
        cls.hosts.close()
        super().tearDownClass()

    def tearDown(self):
        self.slurm.command("scancel", "--user=root", check=False)  # of a test that failed

    def submit(self, name, epochs, *flags):
        """The job's number, its run directory, and the file of its output."""
        run_dir, out = self.scratch / name, self.scratch / f"{name}.out"
        environment = {"GSPLIT": os.path.abspath(harness.GSPLIT), "GSPLIT_CACHE": str(self.scratch / "cache")}
        said = self.slurm.command("sbatch", "--nodes=2", f"--output={out}", *flags, SCRIPT, self.dataset, "--run-dir", run_dir, *RUN,
                                  "--epochs", epochs, **environment)
        return said.split()[-1], run_dir, out

    def steps(self, run_dir):
        return len(harness.events(run_dir, "step")) if (run_dir / "events.jsonl").exists() else 0

    def ranks(self):
        """Processes of gsplit train, of the hosts in turn."""
        found = []
        for pid in self.hosts.processes():
            try:
                words = pathlib.Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
            except OSError:
                continue
            if harness.is_gsplit(pid) and b"train" in words[:2]:
                found.append(pid)
        return found

    def await_state(self, job, *states, seconds=60, out=None):
        seen = lambda: self.slurm.job(job)["JobState"]
        self.assertTrue(await_condition(lambda: seen() in states, seconds),
                        (seen(), out and out.exists() and out.read_text(), self.slurm.logs()))

    def assert_same_run(self, found, epochs):
        expected = self.train(self.dataset, *RUN, "--epochs", epochs, ranks=2)
        self.assertEqual(harness.losses(found), harness.losses(expected))
        self.assertEqual((found / FINAL).read_bytes(), (expected / FINAL).read_bytes())

    def test_a_job_that_loses_a_rank_and_its_time_ends_as_if_it_had_not(self):
        epochs = 40
        job, run_dir, out = self.submit("run", epochs)
        self.assertTrue(await_condition(lambda: self.steps(run_dir) > 10, 40), (out, self.slurm.logs()))
        os.kill(self.ranks()[-1], signal.SIGKILL)
        self.assertTrue(await_condition(lambda: harness.events(run_dir, "resume"), 40), out.read_text())
        self.assertTrue(await_condition(lambda: self.steps(run_dir) > 30, 40), out.read_text())
        self.slurm.command("scancel", "--batch", "--signal=USR1", job)  # as --signal=B:USR1@120 does
        self.await_state(job, "PENDING", out=out)
        end = harness.events(run_dir, "run_end")[0]
        self.assertEqual(end["status"], "stopped")
        self.assertLess(end["steps"], epochs * 8)
        self.await_state(job, "COMPLETED", seconds=120, out=out)
        said = out.read_text(encoding="utf-8")
        self.assertEqual(said.count("is started again"), 1, said)
        self.assertIn("train.sbatch: stopped before the time limit; queued again", said)
        self.assert_same_run(run_dir, epochs)
        print(f"Slurm: rank killed, stopped at step {end['steps']}, queued again, {epochs * 8} steps, weights bit-identical")

    @only_in_full
    def test_the_time_limit_itself(self):
        """Slurm counts it in minutes, and signals up to one earlier than told."""
        job, run_dir, out = self.submit("limit", 100000, "--time=2", "--signal=B:USR1@60")
        self.assertTrue(await_condition(lambda: self.steps(run_dir) > 10, 60), (out, self.slurm.logs()))
        self.await_state(job, "PENDING", seconds=150, out=out)
        self.assertEqual(harness.events(run_dir, "run_end")[0]["status"], "stopped")
        step = harness.events(run_dir, "step")[-1]["step"]
        self.assertTrue(await_condition(lambda: harness.events(run_dir, "resume"), 60), out.read_text())
        self.assertEqual(harness.events(run_dir, "resume")[0]["step"], step)
        self.slurm.command("scancel", job)
        self.await_state(job, "CANCELLED", out=out)

    @only_in_full
    def test_scancel_ends_it_with_a_checkpoint_for_good(self):
        job, run_dir, out = self.submit("cancel", 100000)
        self.assertTrue(await_condition(lambda: self.steps(run_dir) > 10, 40), (out, self.slurm.logs()))
        self.slurm.command("scancel", job)
        self.await_state(job, "CANCELLED", out=out)
        self.assertTrue(await_condition(lambda: not self.ranks(), 15), out.read_text())
        end = harness.events(run_dir, "run_end")[0]
        self.assertEqual(end["status"], "stopped")
        self.assertTrue((run_dir / "checkpoints" / f"step-{end['steps']}").is_dir())

    @only_in_full
    def test_a_host_that_is_lost_is_replaced(self):
        epochs = 80
        job, run_dir, out = self.submit("lost", epochs)
        self.assertTrue(await_condition(lambda: self.steps(run_dir) > 10, 40), (out, self.slurm.logs()))
        last = self.slurm.command("scontrol", "show", "hostnames", self.slurm.job(job)["NodeList"]).split()[-1]
        self.hosts.cut_off(last)
        try:
            self.await_state(job, "PENDING", seconds=90, out=out)
            self.await_state(job, "COMPLETED", seconds=180, out=out)
            self.assertNotIn(last, self.slurm.job(job)["NodeList"])
        finally:
            self.hosts.plug_in_again(last)
        self.assert_same_run(run_dir, epochs)


@unittest.skipUnless(FULL, "only with GSPLIT_FULL_TESTS=1")
class Matrix(fault_test.Matrix):
    """The matrix of faults, with srun in place of mpirun and a rank on each host."""

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.hosts = hosts.Hosts(fault_test.RANKS)
        cls.slurm = slurm.Slurm(cls.hosts, cpus=2 * fault_test.AT_ONCE)

    @classmethod
    def tearDownClass(cls):
        cls.slurm.close()
        cls.hosts.close()
        super().tearDownClass()

    @classmethod
    def environment(cls):
        environment = {**super().environment(), "SLURM_PMIX_FENCE": "tree"}  # as in the script
        return {**environment, **({"SLURM_CONF": str(cls.slurm.config)} if hasattr(cls, "slurm") else {})}

    def launcher(self, ranks, mpi):
        return [*self.hosts["h1"].enter(), "srun", f"--nodes={ranks}", f"--ntasks={ranks}", "--mpi=pmix", "--input=none", "--quiet",
                "--kill-on-bad-exit=1"]  # as the script has it: else srun waits for a rank that is stopped

    def cases(self):
        return [case for case in fault_test.all_cases() if case.target != "mpirun"]


if __name__ == "__main__":
    if reason := slurm.missing():
        print(f"skipped: {reason}")
        sys.exit(77)
    unittest.main()
