"""What one rank does alone may take longer than the deadline for which others wait in a collective: files on a slow disk, a partition.

By default the disk is slow, with GSPLIT_FULL_TESTS=1 also the history long and the partition each host's own.
"""

import os
import shutil
import subprocess
import unittest

import harness

only_in_full = unittest.skipUnless(os.environ.get("GSPLIT_FULL_TESTS"), "only with GSPLIT_FULL_TESTS=1")
DEADLINE = 1
RUN = ["--fanout", "3,3", "--hidden", "8", "--batch-size", "100", "--threads", "1", "--partition", "random", "--deadline", DEADLINE]
SLOW = """
#include <sys/syscall.h>
#include <unistd.h>
int fsync(int file) {
  usleep(180000);
  return (int)syscall(SYS_fsync, file);
}
"""
HISTORY = 60 << 20  # bytes of events


class Patience(harness.Scratch):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.dataset = cls.generate("graph", nodes=2000, degree=8, features=8, classes=4)

    def under_mpirun(self, *arguments, before=(), exports=()):
        command = [*harness.MPIRUN[:-1], *exports, "-n", 2, *before, harness.GSPLIT, "train", *arguments]
        done = subprocess.run([str(word) for word in command], env=self.environment(), text=True, capture_output=True, check=False, timeout=240)
        self.assertEqual(done.returncode, 0, done.stderr)

    @unittest.skipIf("ASAN_OPTIONS" in os.environ or "TSAN_OPTIONS" in os.environ, "a sanitizer wants to be loaded first")
    @unittest.skipUnless(shutil.which("cc"), "there is no C compiler")
    def test_for_a_disk_that_takes_longer_to_flush_than_the_deadline(self):
        library = self.scratch / "slow.so"
        subprocess.run(["cc", "-shared", "-fPIC", "-x", "c", "-", "-o", library], input=SLOW, text=True, check=True)
        run_dir = self.scratch / "slow"
        for arguments in (["--max-steps", 4, "--eval-every", 0], ["--max-steps", 6, "--resume"]):
            self.under_mpirun(self.dataset, "--run-dir", run_dir, *RUN, "--checkpoint-every-steps", 4, *arguments,
                              exports=["-x", f"LD_PRELOAD={library}"])
        times = {event["event"]: event["time"] for event in harness.events(run_dir, "step") + harness.events(run_dir, "checkpoint")}
        self.assertGreater(times["checkpoint"] - times["step"], DEADLINE)  # what the test is about
        self.assertEqual(harness.losses(run_dir), harness.losses(self.train(self.dataset, *RUN, "--max-steps", 6, ranks=2)))

    @only_in_full
    def test_for_a_long_history_that_a_resume_reads(self):
        run_dir = self.train(self.dataset, *RUN, "--max-steps", 8, "--checkpoint-every-steps", 4, ranks=2)
        events = run_dir / "events.jsonl"
        lines = events.read_text(encoding="utf-8").splitlines(keepends=True)
        step = next(line for line in lines if '"step"' in line)
        with events.open("w", encoding="utf-8") as file:
            file.write(lines[0])
            file.writelines(step for _ in range(HISTORY // len(step)))
            file.writelines(lines[1:])
        self.under_mpirun(self.dataset, "--run-dir", run_dir, *RUN, "--max-steps", 12, "--resume")
        self.assertEqual(harness.events(run_dir, "run_end")[0]["steps"], 12)

    @only_in_full
    def test_for_a_host_that_makes_its_own_partition(self):
        large = self.generate("large", nodes=400000, degree=8, features=2, classes=2)
        caches = self.scratch / "caches"
        own_cache = ["sh", "-c", f'GSPLIT_CACHE={caches}/$OMPI_COMM_WORLD_RANK exec "$@"', "sh"]
        self.under_mpirun(large, "--run-dir", self.scratch / "large-run", *RUN, "--partition", "metis", "--max-steps", 3, "--eval-every", 0,
                          before=own_cache)
        self.assertEqual(sorted(path.name for path in caches.iterdir()), ["0", "1"])


if __name__ == "__main__":
    unittest.main()
