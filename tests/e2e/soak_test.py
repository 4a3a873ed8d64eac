"""A long run with kills, resumes and evaluations: its memory and file descriptors stay flat, and it leaves nothing behind.

Some hundred steps and two kills by default; with GSPLIT_FULL_TESTS=1 forty thousand and forty, then compared with an undisturbed run, with GSPLIT_SOAK_STEPS=N
as many as said.
"""

import os
import pathlib
import random
import signal
import statistics
import subprocess
import tempfile
import time
import unittest

import harness
import hosts

FULL = bool(os.environ.get("GSPLIT_FULL_TESTS"))
STEPS = int(os.environ.get("GSPLIT_SOAK_STEPS", 40000 if FULL else 600))
KILLS = max(2, STEPS // 1000)
RUN = ["--fanout", "4,3", "--hidden", "16", "--batch-size", "64", "--lr", "0.01", "--dropout", "0.3", "--partition", "random",
       "--threads", "1", "--deadline", "20", "--checkpoint-every-steps", "50", "--eval-every", "3", "--keep", "2",
       "--max-steps", STEPS]
WARM = 80  # steps
GROWTH = 4 << 20  # bytes that a rank may have gained between the first and the last third of its life
FINAL = "checkpoints/final/model.safetensors"


class Sample:
    """What a rank takes at a moment."""

    def __init__(self, pid, step):
        self.step = step
        status = pathlib.Path(f"/proc/{pid}/status").read_text(encoding="utf-8")
        fields = dict(line.split(":", 1) for line in status.splitlines())
        self.rss = int(fields["VmRSS"].split()[0]) * 1024
        self.threads = int(fields["Threads"])
        self.files = len(os.listdir(f"/proc/{pid}/fd"))


def third(values, number):
    length = max(1, len(values) // 3)
    return values[:length] if number == 1 else values[-length:]


class Soak(harness.Scratch):
    """On a host of its own where there can be one: its /tmp and /dev/shm are empty."""

    @classmethod
    def setUpClass(cls):
        tempfile.tempdir = "/var/tmp"
        super().setUpClass()
        cls.host = None if hosts.missing() else hosts.Hosts(1)
        cls.dataset = cls.generate("graph", nodes=5000, degree=8, features=8, classes=4)

    @classmethod
    def tearDownClass(cls):
        if cls.host:
            cls.host.close()
        super().tearDownClass()

    def enter(self):
        return self.host["h1"].enter() if self.host else []

    def environment_here(self):
        scratch = self.scratch / "runtime"
        scratch.mkdir(exist_ok=True, mode=0o700)
        return {**self.environment(), "XDG_RUNTIME_DIR": str(scratch)}

    def files_outside(self):
        """What lies where temporary files do."""
        places = ["/tmp", "/dev/shm"] if self.host else []
        found = subprocess.run([*self.enter(), "find", *places, str(self.scratch / "runtime"), "-not", "-type", "d"], capture_output=True,
                               text=True, check=True).stdout.splitlines()
        return {path for path in found if "/ompi." not in path and "openmpi-sessions" not in path}  # of a killed mpirun

    def ranks(self, launcher):
        return [pid for pid in harness.children(launcher) if harness.is_gsplit(pid)]

    def start(self, run_dir):
        command = [*self.enter(), harness.GSPLIT, "supervise", "--backoff", 0, "--max-restarts", KILLS + 1, "--", *harness.MPIRUN, 2,
                   harness.GSPLIT, "train", self.dataset, "--run-dir", run_dir, *RUN]
        return subprocess.Popen([str(word) for word in command], env=self.environment_here(), stdin=subprocess.DEVNULL,
                                stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, start_new_session=True)

    def step(self, run_dir):
        """The latest one, without reading all of a long file."""
        try:
            with open(run_dir / "events.jsonl", "rb") as file:
                file.seek(max(0, os.fstat(file.fileno()).st_size - 8192))
                steps = [line for line in file.read().split(b"\n")[1:] if line.startswith(b'{"event":"step"')]
            return int(steps[-1].split(b'"step":')[1].split(b",")[0]) if steps else 0
        except OSError:
            return 0

    def soak(self, run_dir):
        """Runs to the end; kills the launcher and a rank in turn in the first half. Samples of each rank by process id."""
        moments = random.Random(2)
        job = self.start(run_dir)
        samples, kills, last, due = {}, 0, 0, 40
        while job.poll() is None:
            time.sleep(0.03 if STEPS < 5000 else 0.5)
            launchers = harness.children(job.pid)
            pids = self.ranks(launchers[0]) if launchers else []
            for pid in pids:
                try:
                    samples.setdefault(pid, []).append(Sample(pid, last))
                except (OSError, KeyError):  # it ends
                    pass
            last = self.step(run_dir)
            if kills < KILLS and last >= due and pids:
                due = last + STEPS // (2 * KILLS)
                try:
                    os.kill(moments.choice(pids) if kills % 2 else launchers[0], signal.SIGKILL)
                    kills += 1
                except ProcessLookupError:
                    pass
        self.assertEqual(job.returncode, 0, job.stderr.read())
        job.stderr.close()
        return samples, kills

    def without_start(self, life):
        """From some steps and an evaluation on; a life that went on begins with the steps of the one before."""
        return [sample for sample in life if sample.step >= life[0].step + WARM]

    def test_memory_and_files_stay_flat_and_nothing_is_left(self):
        run_dir = self.scratch / "run"
        (self.scratch / "runtime").mkdir(exist_ok=True, mode=0o700)
        before = self.files_outside()
        begin = time.monotonic()
        samples, kills = self.soak(run_dir)
        self.assertEqual(harness.events(run_dir, "run_end")[0]["status"], "done")
        steps = [event["step"] for event in harness.events(run_dir, "step")]
        self.assertEqual(steps, list(range(1, STEPS + 1)))
        self.assertGreaterEqual(kills, 2)
        lives = sorted(map(self.without_start, samples.values()), key=len)[-2:]
        self.assertGreaterEqual(min(map(len, lives)), 9)
        for life in lives:
            first, last = (statistics.median(sample.rss for sample in third(life, number)) for number in (1, 3))
            files = [sample.files for sample in life]
            print(f"soak: {STEPS} steps, {kills} kills, {time.monotonic() - begin:.0f} s; the longest life of a rank: {len(life)} samples, "
                  f"RSS {first / 2**20:.1f} -> {last / 2**20:.1f} MiB, most {max(sample.rss for sample in life) / 2**20:.1f}, "
                  f"files {min(files)} to {max(files)}, threads {max(sample.threads for sample in life)}")
            self.assertLess(last - first, GROWTH)
            # A file that is being written, a call of gRPC: some come and go.
            first, last = (statistics.median(sample.files for sample in third(life, number)) for number in (1, 3))
            self.assertLessEqual(last, first + 1)
        self.assertEqual(self.files_outside(), before)
        self.assertEqual([path for path in (self.scratch / "cache").rglob(".*") if path.suffix != ".lock" and "lock" not in path.name], [])
        left = {path.name for path in run_dir.rglob("*") if path.name.startswith(".")}
        self.assertEqual(left, {".lock"})
        checkpoints = {path.name for path in (run_dir / "checkpoints").iterdir()}
        self.assertEqual(len(checkpoints), 4, checkpoints)  # --keep 2, best, final
        if FULL:
            expected = self.train(self.dataset, *RUN, ranks=2)
            self.assertEqual((run_dir / FINAL).read_bytes(), (expected / FINAL).read_bytes())
            self.assertEqual(harness.losses(run_dir), harness.losses(expected))
            print("soak: losses and weights are bit by bit those of a run without kills")


if __name__ == "__main__":
    unittest.main()
