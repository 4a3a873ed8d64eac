"""trace.json, Prometheus metrics and gsplit status of real runs, with ranks as threads and as processes."""

import collections
import json
import os
import re
import signal
import socket
import subprocess
import time
import unittest
import urllib.request

import harness
from harness import GSPLIT, events

FULL = "GSPLIT_FULL_TESTS" in os.environ
PHASES = {"sampling", "loading", "compute", "exchange", "all-reduce", "waiting for the plan"}


def spans_of(run_dir):
    """The spans of trace.json, after a check that it is what the Trace Event Format asks for."""
    trace = json.loads((run_dir / "trace.json").read_text(encoding="utf-8"))
    assert trace["displayTimeUnit"] in ("ms", "ns")
    spans, names = [], {}
    for event in trace["traceEvents"]:
        assert isinstance(event["pid"], int) and isinstance(event["tid"], int) and isinstance(event["ts"], (int, float))
        assert isinstance(event["name"], str) and event["name"]
        if event["ph"] == "M":
            assert event["name"] in ("process_name", "process_sort_index", "thread_name")
            names[event["name"], event["pid"], event["tid"]] = event["args"].get("name")
        else:
            assert event["ph"] == "X" and event["dur"] >= 0
            spans.append(event)
    threads = {}
    for event in spans:
        assert ("process_name", event["pid"], event["pid"]) in names and ("thread_name", event["pid"], event["tid"]) in names
        assert event["pid"] > 0 and threads.setdefault(event["tid"], event["pid"]) == event["pid"], "an id of its own for each thread"
    return spans, names


def process_of(rank):
    return 1000 * (rank + 1)


def nesting_faults(spans):
    """Pairs of one thread of which neither holds the other and which are not apart, to the rounding of a nanosecond."""
    faults, threads = [], collections.defaultdict(list)
    for span in spans:
        threads[span["pid"], span["tid"]].append((span["ts"], span["ts"] + span["dur"], span["name"]))
    for thread in threads.values():
        open_spans = []
        for begin, end, name in sorted(thread, key=lambda span: (span[0], -span[1])):
            while open_spans and open_spans[-1][1] <= begin + 0.0015:
                open_spans.pop()
            if open_spans and end > open_spans[-1][1] + 0.0015:
                faults.append((open_spans[-1], (begin, end, name)))
            open_spans.append((begin, end, name))
    return faults


class Runs(harness.Scratch):
    flags = ["--threads", 1, "--fanout", "5,3", "--hidden", 16, "--batch-size", 16, "--prefetch", 0]

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.dataset = cls.generate("graph", nodes=2000)

    def start(self, *arguments, ranks=None):
        """A run in the background, and its directory once its first step is recorded."""
        type(self).runs += 1
        run_dir = self.scratch / f"run-{self.runs}"
        command = [GSPLIT, "train", self.dataset, "--run-dir", run_dir, *self.flags, *arguments]
        command = [*harness.MPIRUN, str(ranks), *command] if ranks else command
        process = subprocess.Popen([str(part) for part in command], env=self.environment(), text=True,
                                   stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        self.addCleanup(process.communicate)
        self.addCleanup(process.kill)
        deadline = time.monotonic() + 60
        while not ((run_dir / "events.jsonl").exists() and events_so_far(run_dir, "step")):
            self.assertIsNone(process.poll(), "it has ended")
            self.assertLess(time.monotonic(), deadline)
            time.sleep(0.02)
        return process, run_dir


def events_so_far(run_dir, name):
    """As harness.events(), of a file whose last line may not be there yet."""
    found = []
    for line in (run_dir / "events.jsonl").read_text(encoding="utf-8").splitlines():
        try:
            event = json.loads(line)
        except ValueError:
            continue
        if event["event"] == name:
            found.append(event)
    return found


class Trace(Runs):
    def check_trace(self, run_dir, ranks, steps, layers=2):
        spans, names = spans_of(run_dir)
        self.assertEqual(nesting_faults(spans), [])
        self.assertEqual({span["pid"] for span in spans}, {process_of(rank) for rank in range(ranks)})
        self.assertEqual(sorted({span["args"]["step"] for span in spans}), steps)
        for rank in range(ranks):
            process = process_of(rank)
            self.assertTrue(names["process_name", process, process].startswith(f"rank {rank} on "))
            self.assertEqual(names["thread_name", process, process], "training")
            for step in steps:
                mine = [span for span in spans if span["tid"] == process and span["args"]["step"] == step]
                found = {span["name"] for span in mine}
                self.assertLessEqual(PHASES if ranks > 1 else PHASES - {"exchange"}, found | {"exchange"})
                for name in ("sample layer", "forward", "backward"):
                    self.assertEqual(sorted(span["args"]["layer"] for span in mine if span["name"] == name), list(range(1, layers + 1)))
        return spans

    def test_sampled_steps_of_every_rank(self):
        for ranks in (None, 3):
            workers = [] if ranks else ["--workers", 3]
            run_dir = self.train(self.dataset, *self.flags, "--max-steps", 31, "--eval-every", 0, *workers, ranks=ranks)
            self.check_trace(run_dir, 3, [1, 2, 3, 10, 30])

    def test_bytes_are_those_of_the_events(self):
        run_dir = self.train(self.dataset, *self.flags, "--workers", 3, "--max-steps", 6, "--trace-steps", "2,4-5")
        spans = self.check_trace(run_dir, 3, [2, 4, 5])
        steps = {event["step"]: event for event in events(run_dir, "step")}
        for step in (2, 4, 5):
            sent = collections.Counter()
            for span in spans:
                if span["args"]["step"] == step and "bytes" in span["args"]:
                    self.assertEqual(span["cat"], "communication")
                    sent[span["name"], span["args"].get("layer")] += span["args"]["bytes"]
            for layer, traffic in enumerate(steps[step]["shuffle_layers"], start=1):
                self.assertEqual(sent["shuffle", layer], traffic["bytes"])
            self.assertEqual(sent["gradients", None], steps[step]["allreduce_bytes"])

    def test_times_are_those_of_the_events(self):
        run_dir = self.train(self.dataset, *self.flags, "--workers", 2, "--max-steps", 4, "--trace-steps", "all", "--eval-every", 0)
        spans = self.check_trace(run_dir, 2, [1, 2, 3, 4])
        for event in events(run_dir, "step"):
            for rank in range(2):
                sampling = sum(span["dur"] for span in spans if (span["pid"], span["name"], span["args"]["step"]) == (process_of(rank), "sampling", event["step"]))
                # The report's clock is read around the span.
                self.assertAlmostEqual(sampling / 1e6, event["workers"]["sample_s"][rank], delta=2e-3)

    def test_groups_and_resume(self):
        flags = [*self.flags, "--mode", "hybrid", "--group-size", 2, "--workers", 4]
        run_dir = self.train(self.dataset, *flags, "--max-steps", 5)
        self.check_trace(run_dir, 4, [1, 2, 3])
        self.must("train", self.dataset, "--run-dir", run_dir, "--resume", "--max-steps", 7)
        self.check_trace(run_dir, 4, [6, 7])

    def test_what_is_prepared_ahead_stands_beside_the_step(self):
        run_dir = self.train(self.dataset, *self.flags, "--workers", 2, "--prefetch", 1, "--max-steps", 30, "--trace-steps", "10-14", "--eval-every", 0)
        spans, _ = spans_of(run_dir)
        self.assertEqual(nesting_faults(spans), [])
        for rank in range(2):
            mine = [span for span in spans if span["pid"] == process_of(rank)]
            training = [span for span in mine if span["tid"] == process_of(rank)]
            ahead = [span for span in mine if span["name"] in ("sampling", "loading", "sample layer")]
            self.assertEqual({span["args"]["step"] for span in training if span["name"] == "compute"}, {10, 11, 12, 13, 14})
            self.assertEqual(len({span["tid"] for span in ahead}), 1)
            self.assertNotIn(process_of(rank), {span["tid"] for span in ahead})
            # What is being sampled is of a later step than what is computed at that time.
            self.assertLessEqual({12, 13, 14}, {span["args"]["step"] for span in ahead if span["name"] == "sampling"})
            self.assertLessEqual({span["args"]["step"] for span in ahead}, {10, 11, 12, 13, 14, 15, 16})
            self.assertIn("waiting for the step", {span["name"] for span in training})

    def test_none_leaves_no_file(self):
        run_dir = self.train(self.dataset, *self.flags, "--workers", 2, "--max-steps", 2)
        self.assertTrue((run_dir / "trace.json").exists())
        self.must("train", self.dataset, "--run-dir", run_dir, *self.flags, "--overwrite", "--max-steps", 2, "--trace-steps", "none")
        self.assertFalse((run_dir / "trace.json").exists())
        refused = self.gsplit("train", self.dataset, "--run-dir", run_dir, "--trace-steps", "often")
        self.assertEqual(refused.returncode, 2)
        self.assertRegex(refused.stderr, r"^gsplit: --trace-steps: .*\n$")

    def test_a_failed_run_leaves_what_it_has(self):
        process, run_dir = self.start("--workers", 2, "--max-steps", 100000)
        while len(events_so_far(run_dir, "step")) < 12:
            time.sleep(0.02)
        process.kill()
        process.wait()
        steps = {span["args"]["step"] for span in spans_of(run_dir)[0]}
        self.assertLessEqual({1, 2}, steps)
        self.assertEqual([path.name for path in run_dir.glob(".trace*")], [])


def scrape(address):
    """name -> {labels: value}, of Prometheus' text format."""
    with urllib.request.urlopen(f"http://{address}/metrics", timeout=10) as answer:
        assert answer.status == 200 and answer.headers["Content-Type"].startswith("text/plain"), answer.headers
        lines = answer.read().decode().splitlines()
    found, types = collections.defaultdict(dict), {}
    for line in lines:
        if line.startswith("#"):
            _, what, name, rest = line.split(" ", 3)
            if what == "TYPE":
                types[name] = rest
            continue
        match = re.fullmatch(r'(\w+)(?:\{(.*)\})? (\S+)', line)
        labels = dict(re.findall(r'(\w+)="([^"]*)"', match[2] or ""))
        if match[1].startswith("exposer_"):  # the library's, about itself
            continue
        found[match[1]][tuple(sorted(labels.items()))] = float(match[3])
    for name in found:
        assert types[name] == ("counter" if name.endswith("_total") else "gauge"), (name, types[name])
    return found


def value(metrics, name, **labels):
    values = [number for key, number in metrics[name].items() if labels.items() <= dict(key).items()]
    assert len(values) == 1, (name, labels, metrics[name])
    return values[0]


class Metrics(Runs):
    def start_with_metrics(self, *arguments, ranks=None):
        process, run_dir = self.start("--metrics-port", 0, "--max-steps", 1000000, "--checkpoint-every-steps", 20, "--eval-every", 0, *arguments, ranks=ranks)
        address = events_so_far(run_dir, "run_start")[0]["metrics"]
        self.assertRegex(address, r"^127\.0\.0\.1:\d+$")
        return process, run_dir, address

    def stop(self, process, run_dir):
        process.send_signal(signal.SIGUSR1)
        self.assertEqual(process.wait(timeout=60), 130)
        return events(run_dir, "step"), process.stderr.read()

    def test_figures_are_those_of_the_events(self):
        for ranks in (None, 2) if FULL else (2,):
            process, run_dir, address = self.start_with_metrics(*([] if ranks else ["--workers", 2]), ranks=ranks)
            while len(events_so_far(run_dir, "step")) < 40:
                time.sleep(0.02)
            metrics = scrape(address)
            again = scrape(address)
            steps, _ = self.stop(process, run_dir)
            done = int(value(metrics, "gsplit_steps_total"))
            self.assertGreaterEqual(done, 39)
            self.assertEqual(value(metrics, "gsplit_step"), done)
            event = steps[done - 1]
            self.assertAlmostEqual(value(metrics, "gsplit_loss"), event["loss"], delta=1e-9)
            sums = {field: sum(step[field] for step in steps[:done]) for field in event if isinstance(event[field], (int, float))}
            for name, field, labels in (("gsplit_seeds_total", "seeds", {}), ("gsplit_edges_total", "edges", {}),
                                        ("gsplit_sent_bytes_total", "shuffle_bytes", {"kind": "shuffle"}),
                                        ("gsplit_sent_bytes_total", "allreduce_bytes", {"kind": "allreduce"}),
                                        ("gsplit_input_rows_total", "rows_disk", {"source": "disk"})):
                self.assertEqual(value(metrics, name, **labels), sums[field], name)
            self.assertAlmostEqual(value(metrics, "gsplit_stage_seconds_total", stage="sample"), sums["sample_s"], places=6)
            for rank in ("0", "1"):
                self.assertGreater(value(metrics, "gsplit_worker_resident_bytes", rank=rank), 1 << 20)
                self.assertLess(value(metrics, "gsplit_worker_heartbeat_age_seconds", rank=rank), 5)
                self.assertLessEqual(value(metrics, "gsplit_worker_step", rank=rank), done + 1)
                self.assertEqual(value(metrics, "gsplit_worker_phase", rank=rank), 1)
                self.assertLess(value(metrics, "gsplit_worker_busy_ratio", rank=rank), 1.001)
            self.assertEqual((value(metrics, "gsplit_failures"), value(metrics, "gsplit_stop_requested"), value(metrics, "gsplit_workers")), (0, 0, 2))
            self.assertEqual(value(metrics, "gsplit_checkpoint_step") % 20, 0)
            self.assertLess(value(metrics, "gsplit_checkpoint_age_seconds"), 30)
            for name, series in metrics.items():
                if name.endswith("_total"):
                    for labels, number in series.items():
                        self.assertGreaterEqual(again[name][labels], number, name)

    def test_nonsense_over_http_leaves_the_run_alone(self):
        process, run_dir, address = self.start_with_metrics("--workers", 2)
        place = address.rsplit(":", 1)[0], int(address.rsplit(":", 1)[1])
        kept = []
        nonsense = [b"", b"\0" * 5000, b"GET\r\n\r\n", b"GET /metrics HTTP/9.9\r\n\r\n", b"GET /../../etc/passwd HTTP/1.1\r\nHost: x\r\n\r\n",
                    b"POST /metrics HTTP/1.1\r\nContent-Length: 99999999999999999999\r\n\r\n", b"GET /metrics HTTP/1.1\r\n" + b"A: b\r\n" * 20000 + b"\r\n",
                    b"GET /" + b"a" * 100000 + b" HTTP/1.1\r\n\r\n", b"GET /metrics HTTP/1.1\r\nHost: x\r\nAccept-Encoding: gzip\r\n\r\n", os.urandom(4000),
                    b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03"]
        for number, request in enumerate(nonsense * (20 if FULL else 3)):
            connection = socket.create_connection(place, timeout=10)
            try:
                connection.sendall(request)
                if number % 3 == 0:
                    connection.settimeout(0.05)
                    connection.recv(100)
            except OSError:
                pass
            if number % 11 == 0 and len(kept) < 3:
                kept.append(connection)  # and says nothing more
                self.addCleanup(connection.close)
            else:
                connection.close()
        before = len(events_so_far(run_dir, "step"))
        deadline = time.monotonic() + 20
        while True:  # connections that say nothing are given up after a while
            try:
                metrics = scrape(address)
                break
            except OSError:
                self.assertLess(time.monotonic(), deadline)
        self.assertEqual(value(metrics, "gsplit_failures"), 0)
        while len(events_so_far(run_dir, "step")) < before + 20:
            self.assertIsNone(process.poll())
            time.sleep(0.02)
        begin = time.monotonic()
        _, said = self.stop(process, run_dir)
        self.assertLess(time.monotonic() - begin, 20)
        self.assertEqual(said, "")

    def test_a_taken_port_and_no_port(self):
        with socket.create_server(("127.0.0.1", 0)) as taken:
            port = taken.getsockname()[1]
            for given, ranks in ((port, None), (port, 2), ("nowhere", None), ("1.2.3.4:99999", None), ("127.0.0.1:", None), ("80s", None)):
                refused = self.gsplit("train", self.dataset, "--run-dir", self.scratch / "refused", "--metrics-port", given, "--max-steps", 1, ranks=ranks)
                self.assertEqual(refused.returncode, 2, refused.stderr)
                lines = [line for line in refused.stderr.splitlines() if line.startswith("gsplit: ")]
                self.assertEqual(len(lines), 1, refused.stderr)
                self.assertIn("--metrics-port", lines[0])

    def test_other_addresses_are_open_with_a_warning(self):
        done = self.must("train", self.dataset, "--run-dir", self.scratch / "open", "--metrics-port", "0.0.0.0:0", "--max-steps", 1, *self.flags)
        self.assertIn("gsplit: warning: --metrics-port 0.0.0.0:0", done.stderr)


class Status(Runs):
    def test_a_run_is_found_by_its_directory(self):
        process, run_dir = self.start("--workers", 2, "--max-steps", 1000000, "--eval-every", 0)
        deadline = time.monotonic() + 30
        while True:
            status = json.loads(self.must("status", run_dir, "--json").stdout)
            if all(worker["seeds_per_s"] > 0 for worker in status["workers"]):
                break
            self.assertLess(time.monotonic(), deadline)
            time.sleep(0.3)
        self.assertEqual([worker["rank"] for worker in status["workers"]], [0, 1])
        self.assertAlmostEqual(status["seeds_per_s"], sum(worker["seeds_per_s"] for worker in status["workers"]), places=6)
        for worker in status["workers"]:
            self.assertTrue(0 <= worker["busy_share"] <= 1.001)
            self.assertLessEqual(worker["steps_behind"], 1000)
        text = self.must("status", run_dir).stdout
        self.assertRegex(text, r"2 of 2 workers, step \d+ of 1000000 steps, \d+ seeds/s")
        self.assertRegex(text, r"rank +host +device +phase +step +behind +seeds/s +busy +RSS MiB +GPU MiB +heard s ago")
        watch = subprocess.Popen([GSPLIT, "status", run_dir, "--watch", "--json", "--interval", "0.1"], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        time.sleep(0.6)
        self.assertIn("stopping", self.must("stop", run_dir).stdout)
        self.assertEqual(process.wait(timeout=60), 130)
        out, err = watch.communicate(timeout=30)
        self.assertEqual((watch.returncode, err), (0, ""))
        lines = [json.loads(line) for line in out.splitlines()]
        self.assertGreater(len(lines), 2)
        seen = [max(worker["step"] for worker in line["workers"]) for line in lines if "workers" in line]
        self.assertEqual(seen, sorted(seen))
        ended = json.loads(self.must("status", run_dir, "--json").stdout)
        self.assertEqual((ended["ended"], ended["reason"], ended["step"]), ("stopped", "gsplit stop", len(events(run_dir, "step"))))
        self.assertIn("the run has ended: stopped (gsplit stop)", self.must("status", run_dir).stdout)

    def test_nobody_there(self):
        empty = self.scratch / "empty"
        empty.mkdir()
        self.assertEqual(self.gsplit("status", empty).returncode, 2)
        process, run_dir = self.start("--workers", 1, "--max-steps", 1000000)
        process.kill()
        process.wait()
        gone = self.gsplit("status", run_dir)
        self.assertEqual(gone.returncode, 2)
        self.assertRegex(gone.stderr, r"^gsplit: no token for the coordinator at .*; is the run over\?.*\n$")
        self.assertEqual(self.gsplit("status", run_dir, "--watch").returncode, 2)


if __name__ == "__main__":
    unittest.main()
