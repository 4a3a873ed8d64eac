"""Jobs over several hosts: ssh between network namespaces, each host with a disk of its own and its own shards alone.

By default shards are copied, the network is cut once, and two faults are tried; with GSPLIT_FULL_TESTS=1 all is run.
"""

import dataclasses
import os
import pathlib
import signal
import subprocess
import sys
import tempfile
import time
import unittest

import fault_test
import harness
import hosts
from fault_test import await_condition

FULL = bool(os.environ.get("GSPLIT_FULL_TESTS"))
only_in_full = unittest.skipUnless(FULL, "only with GSPLIT_FULL_TESTS=1")
DEADLINE = 3
LAUNCHER = 10  # seconds after which a launcher that does not end is ended: runtime/train/supervisor.cc
RUN = ["--fanout", "4,3", "--hidden", "16", "--batch-size", "64", "--lr", "0.01", "--dropout", "0.3", "--threads", "1",
       "--deadline", DEADLINE, "--checkpoint-every-steps", "7"]
FINAL = "checkpoints/final/model.safetensors"
EXPORTS = ("GSPLIT_FAULT", "GSPLIT_FAULT_TEST", "GSPLIT_CACHE")


HOSTS = None


def setUpModule():
    global HOSTS
    tempfile.tempdir = "/var/tmp"  # hosts have a /tmp of their own
    HOSTS = hosts.Hosts(3)


def tearDownModule():
    HOSTS.close()


class OverHosts(harness.Scratch):
    """Three hosts, and a dataset that their jobs are not told of."""

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.dataset = cls.generate("graph", nodes=5000, degree=8, features=8, classes=4)
        cls.parts = {}
        cls.hosts = HOSTS

    @classmethod
    def tearDownClass(cls):
        for host in HOSTS.names():  # their own disks are left as they were found
            HOSTS.on(host, "sh", "-c", "rm -rf /tmp/*")
        super().tearDownClass()

    @classmethod
    def partition(cls, parts, seed=0):
        if (parts, seed) not in cls.parts:
            cls.parts[parts, seed] = cls.scratch / f"parts-{parts}-{seed}"
            cls.must("partition", cls.dataset, "--parts", parts, "--method", "random", "--seed", seed,
                     "--out", cls.parts[parts, seed])
        return cls.parts[parts, seed]

    def shard_copy(self, partition, hostfile, target):
        return self.hosts.on("h1", harness.SOURCE / "deploy" / "shard-copy", partition, hostfile, target, check=False,
                             env={**self.environment(), "SSH": f"ssh -F {self.hosts.ssh_config}"})

    def give_shards(self, names, slots=1, seed=0):
        """Each host its own, below a path with its name. Returns the path for --partition."""
        parts = slots * len(names)
        path = f"/tmp/disk-of-{{host}}/{parts}-parts-{seed}"
        done = self.shard_copy(self.partition(parts, seed), self.hosts.hostfile(slots, names), path)
        self.assertEqual((done.returncode, done.stderr), (0, ""), done.stdout)
        return path

    def outside(self, name, path):
        """A file of a host as this machine sees it."""
        return pathlib.Path(f"/proc/{self.hosts[name].sshd.pid}/root{path}")

    def start(self, ranks, *arguments, slots=1, names=None, before=(), launcher=None):
        """gsplit train over hosts; `before`: what stands before the launcher."""
        if launcher is None:
            launcher = self.hosts.mpirun(ranks, self.hosts.hostfile(slots, names), EXPORTS)
        command = [*self.hosts["h1"].enter(), *before, *launcher, harness.GSPLIT, "train", *arguments]
        return subprocess.Popen([str(word) for word in command], env=self.environment(), text=True, stdin=subprocess.DEVNULL,
                                stdout=subprocess.PIPE, stderr=subprocess.PIPE, start_new_session=True)

    def train_over_hosts(self, *arguments, timeout=120, **options):
        process = self.start(*arguments, **options)
        out, err = process.communicate(timeout=timeout)
        self.assertEqual(process.returncode, 0, out + err)

    def steps(self, run_dir):
        return len(harness.events(run_dir, "step")) if (run_dir / "events.jsonl").exists() else 0

    def ranks_on(self, name):
        return [pid for pid in self.hosts.processes(name) if harness.is_gsplit(pid)]

    def assert_same_run(self, found, expected):
        self.assertEqual(harness.losses(found), harness.losses(expected))
        self.assertEqual((found / FINAL).read_bytes(), (expected / FINAL).read_bytes())


class Shards(OverHosts):
    """Where the data lie."""

    @only_in_full
    def test_hosts_with_nothing_but_their_shards_compute_what_one_host_does(self):
        for slots, names in ((1, ["h1", "h2", "h3"]), (2, ["h1", "h2"])):
            parts = slots * len(names)
            with self.subTest(parts=parts):
                expected = self.train(self.dataset, "--partition", self.partition(parts), *RUN, "--epochs", 5, ranks=parts)
                path = self.give_shards(names, slots)
                self.train_over_hosts(parts, "--run-dir", f"/tmp/run-{parts}", *RUN, "--partition", path, "--epochs", 5,
                                      slots=slots, names=names)
                found = self.outside("h1", f"/tmp/run-{parts}")
                self.assert_same_run(found, expected)
                self.assertIn(f"partition: {path}\n", (found / "config.yaml").read_text(encoding="utf-8"))

    def refused(self, path):
        process = self.start(2, "--run-dir", "/tmp/refused", *RUN, "--partition", path, "--epochs", 1, names=["h1", "h2"])
        _, err = process.communicate(timeout=60)
        lines = [line for line in err.splitlines() if line.startswith("gsplit: ")]
        self.assertEqual((process.returncode, len(lines)), (2, 1), err)
        self.assertFalse(self.outside("h1", "/tmp/refused/events.jsonl").exists())
        return lines[0]

    @only_in_full
    def test_a_host_without_its_shards_or_with_others_is_named(self):
        path = self.give_shards(["h1", "h2"])
        self.hosts.on("h2", "rm", "-r", "/tmp/disk-of-h2/2-parts-0/part-1")
        self.assertRegex(self.refused(path), r"^gsplit: on h2: cannot open /tmp/disk-of-h2/2-parts-0/part-1/")
        self.hosts.on("h2", "cp", "-r", f"{self.partition(2, seed=1)}/.", "/tmp/disk-of-h2/2-parts-0")
        self.assertRegex(self.refused(path), r"^gsplit: rank 1 on h2 has another partition of the data than rank 0: /tmp/disk-of-h2/")


class Copies(OverHosts):
    """deploy/shard-copy."""

    def names_in(self, host, path):
        return sorted(entry.name for entry in self.outside(host, path).iterdir())

    def test_hosts_get_their_own_shards_whole(self):
        partition = self.partition(4)
        hostfile = self.scratch / "hostfile"
        hostfile.write_text("# of three\nh1 slots=1\nh2 slots=2\nh3\n", encoding="utf-8")
        # As an interrupted copy leaves it: a file that is there and wrong.
        self.hosts.on("h2", "mkdir", "-p", "/tmp/data/.h2-shards.unfinished/part-1")
        self.hosts.on("h2", "cp", partition / "partition.json", "/tmp/data/.h2-shards.unfinished/part-1/features.npy")
        for _ in range(2):  # the second time all is there
            done = self.shard_copy(partition, hostfile, "/tmp/data/{host}-shards/")
            self.assertEqual((done.returncode, done.stderr), (0, ""), done.stdout)
            self.assertEqual(done.stdout.count("verified"), 3)
            for host, parts in (("h1", [0]), ("h2", [1, 2]), ("h3", [3])):
                there = f"/tmp/data/{host}-shards"
                self.assertEqual(self.names_in(host, "/tmp/data"), [f"{host}-shards"])
                self.assertEqual(self.names_in(host, there),
                                 [f"part-{part}" for part in parts] + ["partition.json", "quality.json", "train_seeds.npy"])
                for part in parts:
                    for file in (partition / f"part-{part}").iterdir():
                        self.assertEqual((self.outside(host, there) / f"part-{part}" / file.name).read_bytes(), file.read_bytes())
        self.assertEqual(done.stdout.count("already"), 3)

    @only_in_full
    def test_what_is_wrong_is_said_and_left_alone(self):
        partition, hostfile = self.partition(2), self.hosts.hostfile(names=["h1", "h2"])
        self.assertEqual(self.shard_copy(partition, hostfile, "/tmp/damaged").returncode, 0)
        self.hosts.on("h2", "sh", "-c", "printf x | dd of=/tmp/damaged/part-1/labels.npy bs=1 seek=200 conv=notrunc")
        before = (self.outside("h2", "/tmp/damaged/part-1/labels.npy")).read_bytes()
        done = self.shard_copy(partition, hostfile, "/tmp/damaged")
        self.assertEqual(done.returncode, 3)
        self.assertIn("h2: /tmp/damaged exists and differs", done.stderr)
        self.assertEqual(self.outside("h2", "/tmp/damaged/part-1/labels.npy").read_bytes(), before)
        self.assertIn("h1: part-0 already in /tmp/damaged, verified", done.stdout)
        for arguments, said in (((partition, self.hosts.hostfile(names=["h1"]), "/tmp/x"), "1 slots for the 2 parts"),
                                ((self.dataset, hostfile, "/tmp/x"), "no partition.json"),
                                ((partition, hostfile, "/tmp/x; reboot"), "absolute path"), ((partition, hostfile, "x"), "absolute path")):
            done = self.shard_copy(*arguments)
            self.assertEqual((done.returncode, len(done.stderr.splitlines())), (2, 1), done.stderr)
            self.assertIn(said, done.stderr)
        self.assertFalse(self.outside("h1", "/tmp/x").exists())
        (self.scratch / "stranger").write_text("h1\nnobody-here\n", encoding="utf-8")
        self.assertEqual(self.shard_copy(partition, self.scratch / "stranger", "/tmp/x").returncode, 255)


class Cut(OverHosts):
    """A network that breaks in mid-run. The run directory is on the first host's own disk."""

    def test_a_run_over_hosts_ends_when_the_network_is_cut_and_resumes_exactly(self):
        epochs = ["--epochs", 20, "--eval-every", 0]
        expected = self.train(self.dataset, "--partition", self.partition(3), *RUN, *epochs, ranks=3)
        path = self.give_shards(["h1", "h2", "h3"])
        run_dir = self.outside("h1", "/tmp/run")
        job = self.start(3, "--run-dir", "/tmp/run", *RUN, *epochs, "--partition", path)
        self.assertTrue(await_condition(lambda: self.steps(run_dir) > 10, 30))
        begin = time.monotonic()
        self.hosts.cut_off("h3")
        for name in ("h1", "h2", "h3"):  # also where nobody can tell it
            self.assertTrue(await_condition(lambda host=name: not self.ranks_on(host), DEADLINE + 5), name)
        ended = time.monotonic() - begin
        _, err = job.communicate(timeout=LAUNCHER + 5)
        gone = time.monotonic() - begin
        self.assertNotEqual(job.returncode, 0)
        lines = [line for line in err.splitlines() if line.startswith("gsplit: ")]
        self.assertEqual(len(lines), 1, err)
        self.assertRegex(lines[0], r"^gsplit: rank 2 on h3 failed in \S+( \S+)* at step \d+: lost: .*; run it again with --resume$")
        self.hosts.plug_in_again("h3")
        # Without a flag of the run: they are in the run directory, which other hosts do not see.
        self.train_over_hosts(3, "--run-dir", "/tmp/run", "--resume")
        self.assert_same_run(run_dir, expected)
        print(f"cut: ranks ended after {ended:.1f} s, mpirun after {gone:.1f} s: {lines[0]}")

    @only_in_full
    def test_a_supervised_run_goes_on_with_the_hosts_that_answer(self):
        self.give_shards(["h1", "h2", "h3"])
        self.give_shards(["h1", "h2"])
        run_dir = self.outside("h1", "/tmp/supervised")
        probe = f"ssh -n -F {self.hosts.ssh_config} -o ConnectTimeout=2 {{host}} true 2>&-"
        supervise = [harness.GSPLIT, "supervise", "--backoff", 0.1, "--probe", probe, "--hostfile", self.hosts.hostfile(), "--"]
        job = self.start(3, "--run-dir", "/tmp/supervised", *RUN, "--precision", "fp64", "--epochs", 20, "--eval-every", 0,
                         "--partition", "/tmp/disk-of-{host}/{ranks}-parts-0", before=supervise,
                         launcher=self.hosts.mpirun("{ranks}", "{hostfile}", EXPORTS))
        try:
            self.assertTrue(await_condition(lambda: self.steps(run_dir) > 10, 30))
            self.hosts.cut_off("h3")
            out, err = job.communicate(timeout=90)
        finally:
            self.hosts.plug_in_again("h3")
        self.assertEqual(job.returncode, 0, out + err)
        self.assertIn("host h3 does not answer and is left out", err)
        self.assertEqual(harness.events(run_dir, "run_end")[0]["status"], "done")
        self.assertEqual([harness.events(run_dir, name)[0]["world"] for name in ("run_start", "resume")], [3, 2])
        whole = self.train(self.dataset, *RUN, "--precision", "fp64", "--epochs", 20, "--eval-every", 0)
        for ours, theirs in zip(harness.losses(run_dir), harness.losses(whole), strict=True):
            self.assertLess(abs(ours - theirs), 1e-9)


@dataclasses.dataclass(frozen=True)
class HostCase(fault_test.Case):
    """The launcher is in two places: mpirun on the first host, its daemon on the others."""

    @property
    def rank(self):
        return {"rank 0": 0, "mpirun": 0, "daemon": 1, "rank 2": 2}[self.target]

    def fault(self):
        text = super().fault()
        return text + ",target=parent" if self.target == "daemon" else text


class Matrix(fault_test.Matrix):
    """The matrix of faults, over ssh: rank r is on host r + 1."""

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.hosts, cls.hostfile = HOSTS, HOSTS.hostfile()

    def resume_launcher(self, case, job):
        super().resume_launcher(case, job)
        if case.target == "daemon":
            for pid in self.hosts.processes("h2"):
                os.kill(pid, signal.SIGCONT)

    def launcher(self, ranks, mpi):
        return [*self.hosts["h1"].enter(), *self.hosts.mpirun(ranks, self.hostfile, EXPORTS, mpi)]

    def cases(self):
        cases = fault_test.all_cases()
        cases = [HostCase(case.signal, case.phase, case.target) for case in cases]
        return cases + [HostCase(case.signal, case.phase, "daemon") for case in cases if case.target == "mpirun"]

    def is_representative(self, case):
        return case.phase == "compute" and (case.signal, case.target) in {("KILL", "rank 2"), ("USR1", "rank 0")}


if __name__ == "__main__":
    if reason := hosts.missing():
        print(f"skipped: {reason}")
        sys.exit(77)
    unittest.main()
