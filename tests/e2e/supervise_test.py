"""gsplit supervise: real jobs whose ranks and launchers are really killed, and go on as if nothing had been."""

import os
import pathlib
import signal
import subprocess
import time
import unittest

import harness
from fault_test import await_condition, tagged

RUN = ["--fanout", "4,3", "--hidden", "16", "--batch-size", "64", "--lr", "0.01", "--checkpoint-every-steps", "7",
       "--partition", "random", "--threads", "1", "--deadline", "3"]
FINAL = "checkpoints/final/model.safetensors"
FULL = bool(os.environ.get("GSPLIT_FULL_TESTS"))
only_in_full = unittest.skipUnless(FULL, "only with GSPLIT_FULL_TESTS=1")


class Supervised:
    """A running gsplit supervise."""

    def __init__(self, test, run_dir, command, *flags):
        self.run_dir = pathlib.Path(run_dir)
        self.tag = f"GSPLIT_SUPERVISE_TEST={os.getpid()}-{time.monotonic_ns()}"
        key, value = self.tag.split("=")
        self.out, self.err = (test.scratch / f"{value}.{name}" for name in ("out", "err"))
        with open(self.out, "wb") as out, open(self.err, "wb") as err:
            self.process = self.start(test, {key: value}, command, flags, out, err)

    def start(self, test, tag, command, flags, out, err):
        return subprocess.Popen(
            [harness.GSPLIT, "supervise", *([] if "--backoff" in flags else ["--backoff", "0.1"]), *map(str, flags), "--",
             *map(str, command)],
            env={**test.environment(), **tag}, stdin=subprocess.DEVNULL, stdout=out, stderr=err, start_new_session=True)

    def named(self, name):
        """Living processes of the job with this name."""
        return sorted(pid for pid, comm in tagged(self.tag).items() if comm == name and pid != self.process.pid)

    def await_start(self, number, seconds=30):
        said = f"supervise: start {number}:"
        assert await_condition(lambda: said in self.out.read_text(encoding="utf-8"), seconds), self.end(kill=True)

    def checkpoint(self):
        """Step of the latest one."""
        return max((int(path.name[5:]) for path in (self.run_dir / "checkpoints").glob("step-*")), default=0)

    def await_checkpoint_after(self, step, seconds=30):
        assert await_condition(lambda: self.checkpoint() > step, seconds), self.end(kill=True)

    def end(self, seconds=60, kill=False):
        """Exit code, stdout, stderr; nothing of the job may be left."""
        if kill:
            self.process.kill()
        self.process.wait(timeout=seconds)
        out, err = (file.read_text(encoding="utf-8") for file in (self.out, self.err))
        left = {} if await_condition(lambda: not tagged(self.tag), 5) else tagged(self.tag)
        for pid in left:
            os.kill(pid, signal.SIGKILL)
        assert not left, (left, out, err)
        return self.process.returncode, out, err


class Supervise(harness.Scratch):
    """On one small graph with 8 steps an epoch."""

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.dataset = cls.generate("graph", nodes=5000, degree=8, features=8, classes=4)

    def fresh(self):
        type(self).runs += 1
        return self.scratch / f"run-{self.runs}"

    def job(self, run_dir, *arguments, ranks=2):
        launcher = [] if ranks is None else [*harness.MPIRUN, str(ranks)]
        return [*launcher, harness.GSPLIT, "train", self.dataset, "--run-dir", run_dir, *RUN, *arguments]

    def assert_same_run(self, found, expected):
        self.assertEqual((found / FINAL).read_bytes(), (expected / FINAL).read_bytes())
        self.assertEqual(harness.losses(found), harness.losses(expected))

    def restarts(self, stderr):
        return sum("is started again" in line for line in stderr.splitlines())


class Kills(Supervise):
    """Real deaths in mid-run."""

    def test_killed_ranks_and_launchers_leave_the_same_weights(self):
        epochs = 200 if FULL else 30
        expected = self.train(self.dataset, *RUN, "--epochs", epochs, "--eval-every", 10, ranks=2)
        run_dir = self.fresh()
        job = Supervised(self, run_dir, self.job(run_dir, "--epochs", epochs, "--eval-every", 10), "--max-restarts", 2)
        victims = [("gsplit", 0), ("mpirun", 0), ("gsplit", -1)] * (4 if FULL else 1)
        for start, (name, index) in enumerate(victims, start=1):
            job.await_start(start)
            job.await_checkpoint_after(job.checkpoint())
            os.kill(job.named(name)[index], signal.SIGKILL)
        code, out, err = job.end(120)
        self.assertEqual(code, 0, out + err)
        # More of them than --max-restarts: each made progress.
        self.assertEqual(self.restarts(err), len(victims), err)
        self.assert_same_run(run_dir, expected)
        print(f"killed {len(victims)} times, {self.restarts(err)} restarts, weights bit-identical after {epochs * 8} steps")

    @only_in_full
    def test_a_supervisor_that_is_killed_takes_the_job_with_it(self):
        run_dir = self.fresh()
        job = Supervised(self, run_dir, self.job(run_dir, "--epochs", 4000, "--eval-every", 0))
        job.await_checkpoint_after(0)
        job.process.kill()
        job.end(30)
        self.assertTrue(await_condition(lambda: not job.named("gsplit"), 10))

    @only_in_full
    def test_a_suspended_launcher_of_a_run_that_is_done_is_killed(self):
        run_dir = self.fresh()
        job = Supervised(self, run_dir, self.job(run_dir, "--epochs", 10), "--grace", 2)
        job.await_checkpoint_after(0)
        os.kill(job.named("mpirun")[0], signal.SIGSTOP)
        code, out, err = job.end(40)
        self.assertEqual((code, self.restarts(err)), (0, 0), out + err)
        self.assertEqual(harness.events(run_dir, "run_end")[0]["status"], "done")


class Stops(Supervise):
    """What is not started again."""

    def check_stopped(self, job, run_dir):
        code, out, err = job.end(30)
        self.assertEqual((code, [line for line in err.splitlines() if line.startswith("gsplit: ")]), (130, []), out + err)
        self.assertEqual(harness.events(run_dir, "run_end")[0]["status"], "stopped")
        self.assertEqual(out.count("supervise: start"), 1)
        last = harness.events(run_dir, "step")[-1]["step"]
        self.assertTrue((run_dir / "checkpoints" / f"step-{last}").is_dir())

    def test_signals_stop_the_job_with_a_checkpoint(self):
        for name, ranks in (("TERM", 2), ("USR1", 2), ("INT", None))[: None if FULL else 1]:
            with self.subTest(signal=name, ranks=ranks):
                run_dir = self.fresh()
                job = Supervised(self, run_dir, self.job(run_dir, "--epochs", 4000, "--eval-every", 0, ranks=ranks))
                job.await_checkpoint_after(0)
                job.process.send_signal(getattr(signal, f"SIG{name}"))
                self.check_stopped(job, run_dir)

    @only_in_full
    def test_gsplit_stop_is_no_failure(self):
        run_dir = self.fresh()
        job = Supervised(self, run_dir, self.job(run_dir, "--epochs", 4000, "--eval-every", 0))
        job.await_checkpoint_after(0)
        self.must("stop", harness.events(run_dir, "run_start")[0]["coordinator"])
        self.check_stopped(job, run_dir)

    def test_bad_usage_is_said_once(self):
        run_dir = self.fresh()
        code, out, err = Supervised(self, run_dir, self.job(run_dir, "--epochs", 3, "--hidden", "none")).end()
        self.assertEqual(code, 2, out + err)
        self.assertEqual(sum(line.startswith("gsplit: ") for line in err.splitlines()), 1, err)

    def test_a_wait_for_a_restart_can_be_ended(self):
        run_dir = self.fresh()
        job = Supervised(self, run_dir, ["false", "--run-dir", run_dir], "--backoff", 60)
        time.sleep(0.5)
        job.process.send_signal(signal.SIGTERM)
        self.assertEqual(job.end(5)[0], 130)


class Budget(Supervise):
    """How often, and how soon."""

    def fails(self, *flags):
        run_dir = self.fresh()
        begin = time.monotonic()
        code, out, err = Supervised(self, run_dir, ["sh", "-c", "exit 9", "sh", "--run-dir", run_dir], *flags).end()
        return code, out, err.splitlines(), time.monotonic() - begin

    def test_gives_up_in_one_line(self):
        code, out, lines, seconds = self.fails("--max-restarts", 4, "--backoff", 0.2, "--max-backoff", 0.5)
        self.assertEqual((code, out.count("supervise: start"), len(lines)), (3, 5, 5), lines)
        self.assertRegex(lines[-1], r"^gsplit: the job failed 5 times in a row without a new checkpoint; .*code of its launcher was 9")
        waits = [line.split("again in ")[1].split(" s")[0] for line in lines[:-1]]
        self.assertEqual(waits, ["0.2", "0.4", "0.5", "0.5"])
        self.assertGreater(seconds, 1.6)
        self.assertEqual(self.fails("--max-restarts", 0)[0], 3)

    def test_says_what_is_wrong_with_its_own_flags(self):
        for words, said in (([], "no command to supervise"), (["mpirun", "gsplit"], "no --run-dir"),
                            (["gsplit", "train", "--run-dir=x", "--seeds", "3"], "--seeds"),
                            (["true", "--run_dir", self.scratch / "none"], "no run_end")):
            code, _, err = Supervised(self, self.scratch, words).end()
            self.assertEqual((code, len(err.splitlines())), (2, 1), err)
            self.assertIn(said, err)

    def test_a_command_that_does_not_exist_is_named(self):
        code, _, err = Supervised(self, self.scratch, ["no-such-launcher", "--run-dir", "x"], "--max-restarts", 0).end()
        self.assertEqual(code, 3)
        self.assertIn("cannot start no-such-launcher", err)


class Hosts(Supervise):
    """Which hosts a job is started on. (e2e.hosts has real ones.)"""

    def test_goes_on_with_the_hosts_that_answer(self):
        run_dir, hostfile, gone = self.fresh(), self.scratch / "hosts", self.scratch / "gone"
        hostfile.write_text("a slots=2\nb slots=2  # lost after the first start\nc\n", encoding="utf-8")
        script = f"echo ranks={{ranks}} hosts={{hosts}} $* $(cut -d' ' -f1 {{hostfile}}); touch {gone}; exit 3"
        flags = ["--hostfile", hostfile, "--probe", f"[ {{host}} != b ] || [ ! -e {gone} ]", "--max-restarts", 1]
        command = ["sh", "-c", script, "sh", "--run-dir", run_dir, "--overwrite"]
        code, out, err = Supervised(self, run_dir, command, *flags).end()
        self.assertEqual(code, 3, err)
        said = [line for line in out.splitlines() if line.startswith("ranks=")]
        self.assertEqual(said, [f"ranks=5 hosts=3 --run-dir {run_dir} --overwrite a b c",
                                f"ranks=3 hosts=2 --run-dir {run_dir} --resume a c"])
        self.assertIn("host b does not answer", err)

    def test_waits_for_enough_hosts(self):
        run_dir, hostfile = self.fresh(), self.scratch / "hosts"
        hostfile.write_text("a\nb\n", encoding="utf-8")
        flags = ["--hostfile", hostfile, "--probe", "[ {host} = a ]", "--min-hosts", 2, "--max-restarts", 2]
        code, out, err = Supervised(self, run_dir, ["true", "--run-dir", run_dir], *flags).end()
        self.assertEqual((code, out.count("supervise: start"), err.count("1 of 2 hosts answer")), (3, 0, 3), err)


if __name__ == "__main__":
    unittest.main()
