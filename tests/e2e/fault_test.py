"""What happens when a worker or its launcher dies, stops, or is asked to end: real mpirun jobs, real signals.

Every job must end in time and leave no process; a failure must be one line that names the culprit's rank, phase and
step; a stop must be in good order. GSPLIT_FAULT (runtime/control/fault.h) raises the signals at the right moment.

By default a part of the matrix is run, with GSPLIT_FULL_TESTS=1 all of it (deploy/test.sh --full), with
GSPLIT_FAULT_CASES=REGEX the cases whose names match.
"""

import concurrent.futures
import dataclasses
import itertools
import json
import os
import pathlib
import re
import signal
import subprocess
import time
import unittest

import harness

DEADLINE = 3
IN_PHASE = 1.0  # seconds between entering the phase and the fault: a heartbeat tells of it
STEP = 6  # of 6 an epoch: an evaluation follows
RANKS = 3
AT_ONCE = 4
STARTING = 12  # seconds for jobs that start side by side on two cores
LIMIT = STARTING + IN_PHASE + DEADLINE + 5
PHASES = ("partition", "sampling", "exchange", "compute", "evaluation", "checkpoint")
SIGNALS = ("KILL", "STOP", "exit", "TERM", "USR1")
TARGETS = ("rank 0", "rank 2", "mpirun")
LAUNCHERS = ("mpirun", "daemon")  # the latter is mpirun's on another host: hosts_test.py


def has_checkpoints():
    """Whether this version writes checkpoints within a run."""
    done = subprocess.run([harness.GSPLIT, "train", "--help"], capture_output=True, text=True, check=True)
    return "--checkpoint-every-steps" in done.stdout


def tagged(tag):
    """The living processes that have `tag` in their environment, by process id."""
    found = {}
    for process in pathlib.Path("/proc").glob("[0-9]*"):
        try:
            if tag.encode() in (process / "environ").read_bytes():
                found[int(process.name)] = (process / "comm").read_text(encoding="utf-8").strip()
        except OSError:
            continue  # gone, or not ours; a zombie's environment is empty
    return found


def await_condition(condition, seconds):
    """Polls; whether it has come true in time."""
    end = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > end:
            return False
        time.sleep(0.05)
    return True


@dataclasses.dataclass
class Outcome:
    """How a job has ended."""

    code: int
    lines: list  # of stderr, ours
    stderr: str
    status: str | None  # of run_end
    reason: str | None  # of run_end
    left: dict  # processes still there at the limit
    seconds: float
    last_step: int


class Job:
    """A training job under mpirun, or, with ranks=None, in one process."""

    def __init__(self, test, name, fault="", ranks=RANKS, epochs=3000, options=(), mpi=(), command=()):
        self.run_dir = test.scratch / name
        self.tag = f"GSPLIT_FAULT_TEST={name}-{os.getpid()}"
        environment = dict(test.environment(), GSPLIT_FAULT=fault)
        key, value = self.tag.split("=")
        environment[key] = value
        launcher = [] if ranks is None else test.launcher(ranks, mpi)
        self.errors = open(test.scratch / f"{name}.err", "w+", encoding="utf-8")
        self.begin = time.monotonic()
        self.process = subprocess.Popen(
            [*launcher, *command, harness.GSPLIT, "train", test.dataset, "--run-dir", self.run_dir, "--fanout", "3,3",
             "--hidden", "8", "--batch-size", "50", "--epochs", str(epochs), "--deadline", str(DEADLINE), "--threads", "1",
             "--partition", "random", *options],
            env=environment, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=self.errors, start_new_session=True)

    def events(self, name):
        """Those recorded so far; a last line that is half written does not count."""
        path = self.run_dir / "events.jsonl"
        lines = path.read_text(encoding="utf-8").splitlines(keepends=True) if path.exists() else []
        return [event for event in (json.loads(line) for line in lines if line.endswith("\n")) if event["event"] == name]

    def await_steps(self, count):
        return await_condition(lambda: len(self.events("step")) >= count, LIMIT)

    def ranks_are_gone(self):
        return all(name in ("mpirun", "ssh") for name in tagged(self.tag).values())

    def is_gone(self):
        return self.process.poll() is not None and not tagged(self.tag)

    def outcome(self, limit=LIMIT):
        """Waits for the end; what is left at the limit is killed."""
        await_condition(self.is_gone, limit)
        seconds = time.monotonic() - self.begin
        left = tagged(self.tag)
        for process in left:
            os.kill(process, signal.SIGKILL)
        code = self.process.wait()
        self.errors.seek(0)
        stderr = self.errors.read()
        self.errors.close()
        ends = self.events("run_end")
        steps = self.events("step")
        return Outcome(code, [line for line in stderr.splitlines() if line.startswith("gsplit: ")], stderr,
                       ends[0]["status"] if ends else None, ends[0]["reason"] if ends else None, left, seconds, steps[-1]["step"] if steps else 0)


@dataclasses.dataclass(frozen=True)
class Case:
    """One cell of the matrix."""

    signal: str
    phase: str
    target: str

    @property
    def name(self):
        return f"{self.signal}-{self.phase}-{self.target}".replace(" ", "")

    @property
    def rank(self):
        """Of the culprit; one that signals its launcher for it."""
        return 2 if self.target == "rank 2" else 0 if self.target == "rank 0" else 1

    @property
    def step(self):
        return 0 if self.phase == "partition" else STEP

    def fault(self):
        text = f"rank={self.rank},phase={self.phase},step={self.step},signal={self.signal},after={IN_PHASE}"
        return text + ",target=parent" if self.target == "mpirun" else text

    @property
    def suspends_launcher(self):
        return self.target in LAUNCHERS and self.signal == "STOP"

    def run(self, test):
        options = ["--checkpoint-every-steps", str(STEP)] if self.phase == "checkpoint" else []
        # mpirun's SIGTERM comes after that time, its SIGKILL after as much again.
        mpi = ["--mca", "odls_base_sigkill_timeout", "4"] if self.target == "mpirun" and self.signal == "TERM" else []
        job = Job(test, self.name, self.fault(), epochs=3 if self.suspends_launcher else 3000, options=options, mpi=mpi)
        if self.suspends_launcher:  # the ranks end without it; it is let go on afterwards
            ranks_ended = await_condition(lambda: job.events("run_start") and job.ranks_are_gone(), LIMIT)
            test.resume_launcher(self, job)
        outcome = job.outcome()
        if self.suspends_launcher and not ranks_ended:
            outcome.left["before the launcher went on"] = "gsplit"
        return outcome

    def expected(self):
        """"failure", "stop" or "done"."""
        if self.suspends_launcher:
            return "done"
        if self.signal in ("TERM", "USR1") or self.target in LAUNCHERS:
            return "stop"
        return "failure"


def all_cases():
    cases = [Case(*cell) for cell in itertools.product(SIGNALS, PHASES, TARGETS)]
    return [case for case in cases if not (case.signal == "exit" and case.target == "mpirun")]  # it cannot be made to


def is_representative(case):
    """Each signal with each target, and each phase with a dead and a silent rank."""
    if case.phase == "compute" or (case.signal == "KILL" and case.target == "rank 2"):
        return True
    return case.signal == "STOP" and case.target == "rank 0"


class FaultTest(harness.Scratch):
    """A small graph whose partition is in the cache."""

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.dataset = cls.generate("graph", nodes=3000, degree=8, features=8, classes=4)
        cls.train(cls.dataset, "--workers", RANKS, "--epochs", 1, "--fanout", "3,3", "--batch-size", 50, "--partition", "random")

    def resume_launcher(self, case, job):
        job.process.send_signal(signal.SIGCONT)

    def launcher(self, ranks, mpi):
        return [*harness.MPIRUN[:-1], *mpi, "-n", str(ranks)]

    def assert_one_line(self, outcome, place, rank=r"\d+"):
        self.assertEqual(len(outcome.lines), 1, outcome.stderr)
        self.assertRegex(outcome.lines[0], rf"^gsplit: rank {rank} on \S.* failed in {re.escape(place)}: .+; .+$")

    def assert_ended(self, outcome):
        self.assertEqual(outcome.left, {}, f"left after {outcome.seconds:.0f} s")
        self.assertNotEqual(outcome.code, 0)

    def assert_stopped(self, outcome):
        self.assert_ended(outcome)
        self.assertEqual(outcome.lines, [])
        self.assertEqual(outcome.status, "stopped")


class Matrix(FaultTest):
    """{signal} x {phase} x {target}."""

    def check(self, case, outcome):
        expected = case.expected()
        if expected == "failure":
            self.assert_ended(outcome)
            self.assert_one_line(outcome, f"{case.phase} at step {case.step}", case.rank)
            self.assertIn("--resume", outcome.lines[0])
            self.assertIsNone(outcome.status)
        elif expected == "stop":
            self.assert_stopped(outcome)
            if case.target == "daemon":
                self.assertTrue(outcome.reason)  # whoever of its rank and those of other hosts was first to know
            elif case.target != "mpirun":
                self.assertEqual((outcome.code, outcome.reason.split(" on ")[0]), (130, f"SIG{case.signal} to {case.target}"))
                if case.signal == "USR1" and case.phase in ("sampling", "exchange", "compute"):
                    self.assertLessEqual(outcome.last_step, STEP + 1)  # the step under way, or the signal came at its end
            elif case.signal == "KILL":
                self.assertRegex(outcome.reason, r"^the launcher of rank \d on \S+ has ended$")
            else:
                self.assertRegex(outcome.reason, rf"^SIG{case.signal} to rank \d on \S+$")
        else:
            self.assertEqual((outcome.left, outcome.lines, outcome.status), ({}, [], "done"), outcome.stderr)

    def cases(self):
        return all_cases()

    def is_representative(self, case):
        return is_representative(case)

    def test_matrix(self):
        cases = self.cases()
        if not has_checkpoints():
            print("skipped: faults in the phase checkpoint, this version has no --checkpoint-every-steps")
            cases = [case for case in cases if case.phase != "checkpoint"]
        if chosen := os.environ.get("GSPLIT_FAULT_CASES"):
            cases = [case for case in cases if re.search(chosen, case.name)]
        elif not os.environ.get("GSPLIT_FULL_TESTS"):
            cases = [case for case in cases if self.is_representative(case)]
        begin = time.monotonic()
        with concurrent.futures.ThreadPoolExecutor(AT_ONCE) as pool:
            outcomes = list(pool.map(lambda case: case.run(self), cases))
        for case, outcome in zip(cases, outcomes, strict=True):
            print(f"{case.name}: {case.expected()}, {outcome.seconds:.1f} s, exit {outcome.code}, step {outcome.last_step}",
                  outcome.reason or "", *outcome.lines)
            with self.subTest(case=case.name):
                self.check(case, outcome)
        print(f"{len(cases)} cases in {time.monotonic() - begin:.0f} s")


class Ends(FaultTest):
    """Beginning and end of a job, and a worker that does not listen."""

    def test_a_rank_that_never_starts_is_missed(self):
        job = Job(self, "absent", command=["sh", "-c", '[ "$OMPI_COMM_WORLD_RANK" != 1 ] || kill -STOP $$; exec "$@"', "sh"])
        outcome = job.outcome()
        self.assert_ended(outcome)
        self.assert_one_line(outcome, "starting at step 0")

    def test_a_rank_that_dies_before_the_ranks_have_met(self):
        for rank, name in itertools.product((0, 1), ("KILL", "STOP")):
            with self.subTest(rank=rank, signal=name):
                outcome = Job(self, f"early-{name}-{rank}", f"rank={rank},phase=starting,signal={name}").outcome()
                self.assert_ended(outcome)
                # A launcher that ends its job at once leaves no time to find out who is missing; it says so itself.
                self.assert_one_line(outcome, "starting at step 0", rank if name == "STOP" else r"\d+")

    def test_a_launcher_that_dies_before_the_ranks_have_met(self):
        outcome = Job(self, "early-mpirun", "rank=1,phase=starting,signal=KILL,target=parent").outcome()
        self.assert_ended(outcome)
        self.assertLessEqual(len(outcome.lines), 1)  # nobody may be left to pass it on

    def test_two_ranks_that_die_at_once(self):
        for ranks in ((0, 2), (1, 2)):
            with self.subTest(ranks=ranks):
                faults = [f"rank={rank},phase=compute,step={STEP},signal=KILL,after={IN_PHASE}" for rank in ranks]
                outcome = Job(self, f"two-{ranks[0]}{ranks[1]}", ";".join(faults)).outcome()
                self.assert_ended(outcome)
                self.assert_one_line(outcome, f"compute at step {STEP}", f"[{ranks[0]}{ranks[1]}]")

    def test_a_rank_that_dies_at_the_end(self):
        for name in ("KILL", "STOP"):
            with self.subTest(signal=name):
                outcome = Job(self, f"late-{name}", f"rank=2,phase=finished,signal={name},after={IN_PHASE}", epochs=1).outcome()
                self.assert_ended(outcome)
                self.assert_one_line(outcome, "finished at step 6", 2)
                self.assertEqual(outcome.status, "done")  # which it was

    def test_a_rank_that_computes_for_long_ends_too(self):
        busy = f"rank=1,phase=compute,step={STEP},signal=USR1,after=120"
        for rank in (0, 2):
            with self.subTest(rank=rank):
                outcome = Job(self, f"busy-{rank}", f"{busy};rank={rank},phase=compute,step={STEP},signal=KILL,after=1").outcome()
                self.assert_ended(outcome)
                self.assert_one_line(outcome, f"compute at step {STEP}", rank)

    def test_a_rank_that_lives_and_does_not_come_is_named(self):
        outcome = Job(self, "absent-minded", f"rank=1,phase=compute,step={STEP},signal=USR1,after=120").outcome()
        self.assert_ended(outcome)
        self.assert_one_line(outcome, f"compute at step {STEP}", 1)
        self.assertIn("did not take part in a collective within 3 s", outcome.lines[0])


class Groups(FaultTest):
    """The same of --mode hybrid: who is lost is found, whether awaited in its group or by all workers."""

    def job(self, name, fault):
        return Job(self, f"groups-{name}", fault, ranks=4, options=["--mode", "hybrid", "--group-size", "2"])

    def test_the_culprit_is_named(self):
        cases = [(kind, phase, rank) for kind in ("KILL", "STOP", "absent") for phase, rank in (("compute", 3), ("sampling", 1))]
        cases += [("KILL", "exchange", 2), ("STOP", "evaluation", 0), ("absent", "exchange", 0), ("absent", "all-reduce", 2)]
        if not os.environ.get("GSPLIT_FULL_TESTS"):
            cases = [("KILL", "compute", 3), ("STOP", "sampling", 1), ("absent", "exchange", 0), ("absent", "all-reduce", 2)]

        def run(case):
            kind, phase, rank = case
            end = "signal=USR1,after=120" if kind == "absent" else f"signal={kind},after={IN_PHASE}"
            return self.job("-".join(map(str, case)), f"rank={rank},phase={phase},step={STEP},{end}").outcome()

        with concurrent.futures.ThreadPoolExecutor(AT_ONCE) as pool:
            outcomes = list(pool.map(run, cases))
        for (kind, phase, rank), outcome in zip(cases, outcomes, strict=True):
            print(f"hybrid: {kind} in {phase} of rank {rank}: {outcome.seconds:.1f} s, exit {outcome.code}", *outcome.lines)
            with self.subTest(kind=kind, phase=phase, rank=rank):
                self.assert_ended(outcome)
                self.assert_one_line(outcome, f"{phase} at step {STEP}", rank)

    def test_rank_threads_name_a_living_culprit(self):
        for rank, phase in ((3, "compute"), (0, "sampling")):
            with self.subTest(rank=rank):
                job = Job(self, f"threads-{rank}", f"rank={rank},phase={phase},step={STEP},signal=USR1,after=120", ranks=None,
                          options=["--workers", "4", "--mode", "hybrid", "--group-size", "2"])
                outcome = job.outcome()
                self.assert_ended(outcome)
                self.assert_one_line(outcome, f"{phase} at step {STEP}", rank)

    def test_stops_in_good_order(self):
        outcome = self.job("stop", f"rank=3,phase=compute,step={STEP},signal=USR1").outcome()
        self.assert_stopped(outcome)
        self.assertEqual((outcome.code, outcome.last_step), (130, STEP))


class Stops(FaultTest):
    """Asked to stop, by command and by signal."""

    def test_gsplit_stop_under_mpirun(self):
        job = Job(self, "stop")
        self.assertTrue(job.await_steps(1))
        self.must("stop", job.events("run_start")[0]["coordinator"])
        outcome = job.outcome()
        self.assert_stopped(outcome)
        self.assertEqual((outcome.code, outcome.reason), (130, "gsplit stop"))

    def test_rank_threads_stop_in_good_order(self):
        for name in ("USR1", "TERM", "INT"):
            with self.subTest(signal=name):
                job = Job(self, f"threads-{name}", ranks=None, options=["--workers", "2"])
                self.assertTrue(job.await_steps(1))
                job.process.send_signal(getattr(signal, f"SIG{name}"))
                outcome = job.outcome()
                self.assert_stopped(outcome)
                self.assertEqual((outcome.code, outcome.stderr), (130, ""))
                self.assertTrue(outcome.reason.startswith(f"SIG{name} to rank 0 on "), outcome.reason)
                self.assertTrue((job.run_dir / "checkpoints" / "final" / "model.safetensors").exists())

    def test_a_second_interrupt_ends_at_once(self):
        job = Job(self, "twice", f"rank=0,phase=compute,step={STEP},signal=USR1,after=60", ranks=None, options=["--workers", "2"])
        self.assertTrue(job.await_steps(STEP - 1))
        job.process.send_signal(signal.SIGINT)
        time.sleep(1)
        self.assertIsNone(job.process.poll())
        begin = time.monotonic()
        job.process.send_signal(signal.SIGINT)
        outcome = job.outcome()
        self.assertLess(time.monotonic() - begin, 2)
        self.assertEqual((outcome.code, outcome.left, outcome.status), (130, {}, None))


if __name__ == "__main__":
    unittest.main()
