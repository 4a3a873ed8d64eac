"""--bind: workers that share cores are given cores of their own, and those that a launcher has bound keep theirs."""

import os
import pathlib
import re
import signal
import subprocess
import time
import unittest

import harness

SHARED = harness.MPIRUN  # all ranks may run on all cores
OWN = ["mpirun", "--oversubscribe", "--bind-to", "core", "-n"]


def allowed(status):
    """Cores of a task, by its /proc/.../status."""
    text = re.search(r"Cpus_allowed_list:\t(.*)", status.read_text(encoding="utf-8")).group(1)
    cores = set()
    for part in text.split(","):
        first, _, last = part.partition("-")
        cores.update(range(int(first), int(last or first) + 1))
    return frozenset(cores)


class Bind(harness.Scratch):
    """On whatever cores the test has; results do not depend on them."""

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        if len(os.sched_getaffinity(0)) < 2:
            print("skipped: workers are bound to cores of their own, and there is one core")
            raise unittest.SkipTest("there is one core")
        cls.dataset = cls.generate("graph")

    def cores_of_ranks(self, launcher, *flags):
        """Of each of two ranks: the cores of the thread that trains, and the number of its threads that are bound as it is."""
        self.runs += 1
        run_dir = self.scratch / f"bound-{self.runs}"
        command = [*launcher, "2", harness.GSPLIT, "train", str(self.dataset), "--run-dir", str(run_dir), "--fanout", "4,3",
                   "--epochs", "100000", "--eval-every", "0", *map(str, flags)]
        with subprocess.Popen(command, env=self.environment(), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True) as job:
            try:
                end = time.monotonic() + 60
                while not (run_dir / "events.jsonl").exists() or not harness.events(run_dir, "epoch"):
                    self.assertIsNone(job.poll())
                    self.assertLess(time.monotonic(), end)
                    time.sleep(0.05)
                ranks = [pid for pid in harness.children(job.pid) if harness.is_gsplit(pid)]
                found = []
                for pid in ranks:
                    tasks = [allowed(path / "status") for path in pathlib.Path(f"/proc/{pid}/task").iterdir()]
                    main = allowed(pathlib.Path(f"/proc/{pid}/status"))
                    found.append((main, tasks.count(main)))
                return found
            finally:
                os.killpg(job.pid, signal.SIGTERM)
                job.wait()

    def test_gives_ranks_cores_of_their_own(self):
        (first, team), (second, _) = self.cores_of_ranks(SHARED, "--bind", "cores", "--threads", 2)
        self.assertFalse(first & second)
        self.assertEqual(first | second, frozenset(os.sched_getaffinity(0)))
        self.assertGreaterEqual(team, 2)

    def test_leaves_alone_whom_it_shall(self):
        everything = frozenset(os.sched_getaffinity(0))
        for cores, _ in self.cores_of_ranks(SHARED, "--bind", "none"):
            self.assertEqual(cores, everything)
        (first, _), (second, _) = self.cores_of_ranks(OWN, "--bind", "cores")
        self.assertEqual((len(first), len(second)), (1, 1))
        self.assertNotEqual(first, second)

    def test_changes_no_bit(self):
        def weights(*flags, ranks=None):
            run_dir = self.train(self.dataset, "--fanout", "4,3", "--epochs", 1, *flags, ranks=ranks)
            return (run_dir / "checkpoints" / "final" / "model.safetensors").read_bytes()

        reference = weights("--workers", 3, "--bind", "none")
        self.assertEqual(weights("--workers", 3, "--bind", "cores", "--threads", 2), reference)
        self.assertEqual(weights("--bind", "cores", ranks=3), reference)


if __name__ == "__main__":
    unittest.main()
