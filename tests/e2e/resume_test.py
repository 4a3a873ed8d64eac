"""Promise 3: a run that was killed at any moment goes on as if it had never been."""

import json
import os
import random
import signal
import subprocess
import time
import unittest

import harness

# Everything that a checkpoint must carry: dropout, momentum of the optimizer, a schedule, the best weights so far.
RUN = ["--fanout", "4,3", "--hidden", "16", "--batch-size", "64", "--lr", "0.01", "--lr-schedule", "cosine",
       "--warmup-steps", "20", "--clip-norm", "1", "--norm", "layer", "--checkpoint-every-steps", "7"]
FINAL = "checkpoints/final/model.safetensors"
BEST = "checkpoints/best/model.safetensors"
# What an epoch reports that does not depend on clocks or memory.
EXACT = ("epoch", "loss", "train_acc", "valid_acc", "edges", "input_rows", "shuffle_bytes", "load_imbalance")


class Resume(harness.Scratch):
    """Runs on one small graph with 8 steps an epoch."""

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.dataset = cls.generate("graph", nodes=5000, degree=8, features=8, classes=4)

    def fresh(self):
        type(self).runs += 1
        return self.scratch / f"run-{self.runs}"

    def start(self, run_dir, *arguments, ranks=None):
        """The running process, in a process group of its own."""
        command = [harness.GSPLIT, "train", str(self.dataset), "--run-dir", str(run_dir), *map(str, arguments)]
        if ranks is not None:
            command = [*harness.MPIRUN, str(ranks), *command]
        # The test looks for the process by its arguments: a restart within it would not matter, but costs time.
        return subprocess.Popen(command, env=dict(self.environment(), OMP_WAIT_POLICY="passive"), text=True,
                                stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, start_new_session=True)

    def resume(self, run_dir, *arguments, ranks=None):
        return self.must("train", self.dataset, "--run-dir", run_dir, "--resume", *arguments, ranks=ranks)

    def kill(self, process, after):
        """SIGKILL to all of the job after some seconds; False where it was done before."""
        try:
            process.communicate(timeout=after)
            return False
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.communicate()
            return True

    def assert_same_run(self, found, expected):
        for name in (FINAL, BEST):
            self.assertEqual((found / name).read_bytes(), (expected / name).read_bytes(), name)
        steps = harness.events(found, "step")
        self.assertEqual([step["step"] for step in steps], list(range(1, len(steps) + 1)))
        self.assertEqual(harness.losses(found), harness.losses(expected))
        for name in ("epoch", "run_end"):
            for one, other in zip(harness.events(found, name), harness.events(expected, name), strict=True):
                for field in set(one) & {*EXACT, "status", "best_valid_acc", "test_acc", "epochs", "steps"}:
                    self.assertEqual(one[field], other[field], (name, field))


class Kills(Resume):
    """SIGKILL at random moments."""

    def survive(self, kills, arguments, ranks=None):
        """Kills and resumes runs until `kills` kills have happened; every run ends as an undisturbed one."""
        moments = random.Random(1)
        expected = self.fresh()
        self.must("train", self.dataset, "--run-dir", expected, *arguments, ranks=ranks)
        span = harness.events(expected, "run_end")[0]["seconds"]
        done, resumes = 0, 0
        while done < kills:
            run_dir = self.fresh()
            process = self.start(run_dir, *arguments, ranks=ranks)
            while self.kill(process, self.moment(moments, span, process, run_dir) if done < kills else 200):
                done += 1
                process = self.start(run_dir, *arguments, "--resume", ranks=ranks)
            self.assertEqual(process.returncode, 0, run_dir)
            self.assert_same_run(run_dir, expected)
            resumes += len(harness.events(run_dir, "resume"))
        print(f"{done} kills, {resumes} of the resumes from a checkpoint, {ranks or 'no'} MPI ranks")
        self.assertGreater(resumes, 0)

    def moment(self, moments, span, process, run_dir):
        """Seconds from now to a kill: one in four falls somewhere into the start, the others into training."""
        if moments.random() < 0.25:
            return moments.uniform(0, 0.3)
        config = run_dir / "config.yaml"
        written = config.stat().st_mtime_ns if config.exists() else 0
        while process.poll() is None and not (config.exists() and config.stat().st_mtime_ns > written):
            time.sleep(0.005)
        return moments.uniform(0, 0.6 * span)

    def test_20_kills_of_a_run_of_rank_threads(self):
        self.survive(20, [*RUN, "--workers", 2, "--epochs", 40, "--eval-every", 5])

    def test_kills_of_an_mpi_job(self):
        self.survive(4, [*RUN, "--epochs", 40, "--model", "gat", "--attn-dropout", 0.2], ranks=2)

    def test_kills_of_a_run_that_stops_early(self):
        self.survive(6, [*RUN, "--workers", 2, "--epochs", 100, "--early-stop", 12, "--lr", 0.05, "--optimizer", "sgd"])

    def test_a_rank_that_dies_leaves_a_run_to_resume(self):
        arguments = [*RUN, "--epochs", 400, "--eval-every", 0]
        run_dir = self.fresh()
        process = self.start(run_dir, *arguments, ranks=3)
        self.await_checkpoint(run_dir)
        ranks = [pid for pid in harness.children(process.pid) if harness.is_gsplit(pid)]
        self.assertEqual(len(ranks), 3)
        os.kill(ranks[-1], signal.SIGKILL)
        process.communicate(timeout=60)
        self.assertNotEqual(process.returncode, 0)
        self.assertEqual(harness.events(run_dir, "run_end"), [])
        step = harness.events(run_dir, "checkpoint")[-1]["step"]
        self.resume(run_dir, "--max-steps", step + 10, ranks=3)
        self.assertEqual(harness.events(run_dir, "run_end")[0]["steps"], step + 10)

    def await_checkpoint(self, run_dir):
        expiry = time.monotonic() + 60
        while time.monotonic() < expiry:
            if any((run_dir / "checkpoints").glob("step-*")):
                return
            time.sleep(0.02)
        self.fail("no checkpoint within 60 s")


class Exactness(Resume):
    """What a resumed run computes."""

    def test_another_number_of_workers_agrees_in_fp64(self):
        exact = [*RUN, "--precision", "fp64", "--epochs", 5]
        expected = harness.losses(self.train(self.dataset, *exact, "--workers", 1))
        self.assertEqual(len(expected), 40)
        for first, second in ((dict(workers=2), dict(workers=3)), (dict(workers=4), dict(ranks=2)),
                              (dict(ranks=3), dict(workers=1))):
            run_dir = self.fresh()
            process = self.gsplit("train", self.dataset, "--run-dir", run_dir, *exact, "--keep", 100, *self.workers(first),
                                  ranks=first.get("ranks"))
            self.assertEqual(process.returncode, 0, process.stderr)
            # As if it had been killed after step 21: nothing later was committed.
            for path in (run_dir / "checkpoints").glob("step-*"):
                if int(path.name[5:]) > 21:
                    path.rename(path.with_name("later-" + path.name))
            self.resume(run_dir, *self.workers(second), "--partition", "random", ranks=second.get("ranks"))
            self.assertEqual(harness.events(run_dir, "resume")[0]["step"], 21)
            for ours, theirs in zip(harness.losses(run_dir), expected, strict=True):
                self.assertLess(abs(ours - theirs), 1e-9, (first, second))

    def workers(self, start):
        return ["--workers", start["workers"]] if "workers" in start else []

    def test_more_epochs_continue_a_finished_run(self):
        constant = [*RUN, "--lr-schedule", "constant", "--workers", 2]
        expected = self.train(self.dataset, *constant, "--epochs", 5)
        run_dir = self.train(self.dataset, *constant, "--epochs", 3)
        self.resume(run_dir, "--epochs", 5)
        self.assert_same_run(run_dir, expected)
        # And to resume what is done changes nothing.
        self.resume(run_dir)
        self.assert_same_run(run_dir, expected)

    def test_data_parallelism_resumes_exactly(self):
        constant = [*RUN, "--lr-schedule", "constant", "--workers", 2, "--mode", "data"]
        expected = self.train(self.dataset, *constant, "--epochs", 5)
        run_dir = self.train(self.dataset, *constant, "--epochs", 3)
        self.resume(run_dir, "--epochs", 5)
        self.assert_same_run(run_dir, expected)

    def test_stop_leaves_a_run_to_resume(self):
        arguments = [*RUN, "--workers", 2, "--epochs", 60, "--eval-every", 20]
        expected = self.train(self.dataset, *arguments)
        run_dir = self.fresh()
        process = self.start(run_dir, *arguments)
        expiry = time.monotonic() + 60
        stopped = False
        while not stopped and time.monotonic() < expiry:
            start = harness.events(run_dir, "run_start") if (run_dir / "events.jsonl").exists() else []
            stopped = bool(start) and self.gsplit("stop", start[0]["coordinator"]).returncode == 0
        process.communicate(timeout=60)
        self.assertEqual(process.returncode, 130)
        self.assertEqual(harness.events(run_dir, "run_end")[0]["status"], "stopped")
        last = harness.events(run_dir, "step")[-1]["step"]
        self.assertLess(last, 480)
        self.assertTrue((run_dir / "checkpoints" / f"step-{last}").is_dir())
        self.resume(run_dir)
        self.assert_same_run(run_dir, expected)

    def test_a_damaged_checkpoint_is_named_and_the_one_before_is_used(self):
        expected = self.train(self.dataset, *RUN, "--workers", 2, "--epochs", 4)
        for name in ("model.safetensors", "optimizer.safetensors", "best.safetensors", "manifest.json"):
            for damage in ("flip", "truncate", "remove"):
                with self.subTest(name=name, damage=damage):
                    run_dir = self.train(self.dataset, *RUN, "--workers", 2, "--epochs", 4)
                    damaged = max((run_dir / "checkpoints").glob("step-*"), key=lambda path: int(path.name[5:]))
                    file = damaged / name
                    content = bytearray(file.read_bytes())
                    content[len(content) // 2] ^= 1
                    file.unlink()  # best.safetensors may be a link
                    if damage != "remove":
                        file.write_bytes(content if damage == "flip" else content[: len(content) // 2])
                    said = self.resume(run_dir).stderr
                    self.assertIn(f"{damaged.name}/{name}", said)
                    self.assertEqual(len(said.splitlines()), 1, said)
                    self.assertEqual(harness.events(run_dir, "resume")[0]["step"], 28)
                    self.assert_same_run(run_dir, expected)
                    self.assertTrue(damaged.with_name("damaged-" + damaged.name).is_dir())


class Rules(Resume):
    """What --resume takes and refuses, and what it leaves."""

    def refused(self, word, run_dir, *arguments, dataset=None, code=2):
        before = {path: path.read_bytes() for path in run_dir.rglob("*") if path.is_file()}
        done = self.gsplit("train", dataset or self.dataset, "--run-dir", run_dir, *arguments)
        self.assertEqual(done.returncode, code, done.stderr)
        self.assertEqual(len(done.stderr.splitlines()), 1, done.stderr)
        self.assertIn(word, done.stderr)
        self.assertEqual({path: path.read_bytes() for path in run_dir.rglob("*") if path.is_file()}, before)

    def test_flags_that_change_the_run_are_refused_by_name(self):
        run_dir = self.train(self.dataset, *RUN, "--workers", 2, "--epochs", 2)
        for flag, value in (("lr", 0.5), ("seed", 3), ("model", "gcn"), ("hidden", 8), ("batch-size", 32), ("dropout", 0.1),
                            ("optimizer", "sgd"), ("precision", "fp64"), ("precision", "bf16"), ("fanout", "4,4"), ("init-from", "elsewhere"),
                            ("norm", "none"), ("mode", "data")):
            with self.subTest(flag=flag):
                self.refused(f"--{flag}", run_dir, "--resume", f"--{flag}", value)
        self.refused("--overwrite", run_dir, "--resume", "--overwrite")
        self.refused("--resume", run_dir)
        other = self.generate("other", nodes=5000, degree=8, features=8, classes=4, seed=1)
        self.refused("other data", run_dir, "--resume", dataset=other)
        self.resume(run_dir, "--epochs", 3, "--threads", 1, "--eval-every", 2, "--keep", 1, "--deadline", 20)
        self.assertEqual(len(list((run_dir / "checkpoints").glob("step-*"))), 1)

    def test_the_dataset_may_have_moved(self):
        run_dir = self.train(self.dataset, *RUN, "--epochs", 2)
        moved = self.scratch / "moved"
        self.dataset.rename(moved)
        try:
            self.must("train", moved, "--run-dir", run_dir, "--resume", "--epochs", 3)
        finally:
            moved.rename(self.dataset)
        self.assertEqual(len(harness.events(run_dir, "epoch")), 3)

    def test_without_a_checkpoint_it_starts_from_the_beginning_and_says_so(self):
        arguments = [*RUN, "--workers", 2, "--epochs", 2]
        expected = self.train(self.dataset, *arguments)
        empty = self.fresh()
        said = self.must("train", self.dataset, "--run-dir", empty, *arguments, "--resume").stdout
        self.assertIn("from the beginning", said)
        self.assert_same_run(empty, expected)
        # The same where a run left events, one of them cut short, and no checkpoint.
        broken = self.train(self.dataset, *arguments)
        for path in (broken / "checkpoints").glob("step-*"):
            (path / "manifest.json").unlink()
        with open(broken / "events.jsonl", "a", encoding="utf-8") as events:
            events.write('{"event":"st')
        said = self.resume(broken)
        self.assertIn("from the beginning", said.stdout)
        self.assertIn("step-16/manifest.json is missing", said.stderr)
        self.assert_same_run(broken, expected)
        self.assertEqual(harness.events(broken, "resume"), [])
        self.assertEqual(len((broken / "events.1.jsonl").read_text(encoding="utf-8").splitlines()),
                         len((expected / "events.jsonl").read_text(encoding="utf-8").splitlines()) + 1)

    def test_keeps_the_latest_checkpoints_and_no_drafts(self):
        run_dir = self.train(self.dataset, *RUN, "--epochs", 8, "--keep", 2)
        names = sorted(path.name for path in (run_dir / "checkpoints").iterdir())
        self.assertEqual(names, ["best", "final", "step-63", "step-64"])
        draft = run_dir / "checkpoints" / ".step-70.unfinished-0"
        draft.mkdir()
        self.resume(run_dir, "--epochs", 9)
        self.assertFalse(draft.exists())
        for event in harness.events(run_dir, "checkpoint"):
            self.assertIn(event["path"], (f"checkpoints/step-{event['step']}", "checkpoints/final"))

    def test_minutes_make_checkpoints_too(self):
        run_dir = self.train(self.dataset, *RUN, "--checkpoint-every-steps", 0, "--checkpoint-minutes", 0.0005, "--epochs", 30,
                             "--eval-every", 0)
        self.assertGreater(len(harness.events(run_dir, "checkpoint")), 3)

    def test_one_run_at_a_time_writes_a_directory(self):
        run_dir = self.fresh()
        process = self.start(run_dir, *RUN, "--epochs", 100000, "--eval-every", 0)
        try:
            while not (run_dir / "config.yaml").exists():
                time.sleep(0.02)
            done = self.gsplit("train", self.dataset, "--run-dir", run_dir, "--resume")
            self.assertEqual(done.returncode, 3, done.stderr)
            self.assertIn("another run", done.stderr)
        finally:
            self.kill(process, 0.01)

    def test_seeds_resume_each_run(self):
        arguments = [*RUN, "--workers", 2, "--epochs", 3, "--seeds", 2]
        expected, run_dir = self.fresh(), self.fresh()
        said = self.must("train", self.dataset, "--run-dir", expected, *arguments).stdout.splitlines()[-1]
        self.must("train", self.dataset, "--run-dir", run_dir, *arguments)
        for path in (run_dir / "seed-1" / "checkpoints").glob("step-2*"):
            path.rename(path.with_name("later-" + path.name))
        again = self.must("train", self.dataset, "--run-dir", run_dir, *arguments, "--resume").stdout.splitlines()[-1]
        self.assertEqual(again.split(" ", 1)[1], said.split(" ", 1)[1])
        for seed in (0, 1):
            self.assert_same_run(run_dir / f"seed-{seed}", expected / f"seed-{seed}")

    def test_manifest_says_what_it_holds(self):
        run_dir = self.train(self.dataset, *RUN, "--epochs", 2, "--workers", 2)
        manifest = json.loads((run_dir / "checkpoints" / "step-16" / "manifest.json").read_text(encoding="utf-8"))
        self.assertEqual(manifest["step"], 16)
        self.assertEqual(manifest["epoch"], 2)
        self.assertEqual(set(manifest["files"]), {"model.safetensors", "optimizer.safetensors", "best.safetensors"})
        self.assertIn("lr: 0.01\n", manifest["config"])
        self.assertIn("partition: metis\n", manifest["config"])  # what auto has chosen
        start = harness.events(run_dir, "run_start")[0]
        self.assertEqual(manifest["dataset_fingerprint"], start["dataset_fingerprint"])
        said = json.loads(self.must("inspect", run_dir / "checkpoints" / "step-16", "--json", "--verify").stdout)
        self.assertEqual((said["kind"], said["step"], said["resumable"], said["parameters"]),
                         ("checkpoint", 16, True, start["parameters"]))
        state = harness.tensors(run_dir / "checkpoints" / "step-16" / "optimizer.safetensors")
        self.assertIn("exp_avg.convs.0.lin_l.weight", state)
        self.assertTrue((state["exp_avg_sq.convs.0.lin_l.weight"] > 0).any())


if __name__ == "__main__":
    unittest.main()
