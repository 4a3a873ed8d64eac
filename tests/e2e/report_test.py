"""gsplit report: what its page and its JSON say is what events.jsonl says, whatever state that is in; and the page in a browser."""

import fcntl
import itertools
import json
import math
import os
import re
import unittest

import browser
import harness
from harness import events

COUNTS = ["seeds", "edges", "input_rows", "rows_cache", "rows_remote", "rows_disk", "shuffle_bytes", "shuffle_bytes_pull", "allreduce_bytes"]
TIMES = ["sample_s", "load_s", "compute_s", "comm_s", "plan_wait_s", "prepare_wait_s"]
STAGES = ("sample", "load", "compute", "communicate", "wait for plan", "wait for sample")
HOSTILE = "</script><img src=x onerror=alert(1)>\"'&<!--\u2028\u202e" + "A" * 300


def digest(test, *arguments):
    return json.loads(test.must("report", "--json", *arguments).stdout)["runs"]


def clock(run_dir):
    """Seconds of each step: since the event before."""
    lines = [json.loads(line) for line in (run_dir / "events.jsonl").read_text(encoding="utf-8").splitlines()]
    return [event["time"] - before["time"] for before, event in zip(lines, lines[1:]) if event["event"] == "step"]


def write_run(directory, lines, cut=False):
    directory.mkdir(parents=True)
    text = "".join((line if isinstance(line, str) else json.dumps(line)) + "\n" for line in lines)
    (directory / "events.jsonl").write_text(text[:-9] if cut else text, encoding="utf-8")
    return directory


def start(config="mode: split\nmodel: sage\n", **fields):
    return {"event": "run_start", "time": 100.0, "config": config, "world": 2, "device": "cpu", "dataset": "made up",
            "total_steps": 99, "metric": "accuracy", "versions": {"gsplit": "0"}, **fields}


def step(number, **fields):
    return {"event": "step", "time": 100.0 + number, "epoch": 1, "step": number, "loss": 2 / number, "seeds": 8, "edges": 10 * number,
            "sample_s": 0.25, "compute_s": 0.5, **fields}


class Runs(harness.Scratch):
    """Runs that the tests of this file look at: split with partial sums, data with a cache, two seeds, one resumed."""

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.dataset = cls.generate("graph", nodes=3000)
        flags = ["--threads", 1, "--fanout", "5,3", "--hidden", 16, "--batch-size", 32]
        cls.split = cls.train(cls.dataset, "--workers", 3, "--epochs", 3, *flags)
        cls.data = cls.train(cls.dataset, "--workers", 2, "--epochs", 2, "--mode", "data", "--cache", "partition", *flags)
        cls.seeds = cls.train(cls.dataset, "--workers", 1, "--epochs", 1, "--seeds", 2, *flags)
        cls.resumed = cls.train(cls.dataset, "--workers", 2, "--max-steps", 12, "--checkpoint-every-steps", 8, *flags)
        # As after a death behind step 12: its end is missing, and the checkpoint after step 8 is the last one.
        for name in ("step-12", "final"):
            (cls.resumed / "checkpoints" / name).rename(cls.resumed / name)
        cls.must("train", cls.dataset, "--run-dir", cls.resumed, "--workers", 2, "--max-steps", 14, "--resume", *flags)


class Digest(Runs):
    """The numbers, without a browser."""

    def check_sums(self, run_dir):
        run = digest(self, run_dir)[0]
        steps = events(run_dir, "step")
        self.assertEqual(run["totals"]["steps"], len(steps))
        for field in COUNTS + TIMES:
            self.assertAlmostEqual(run["totals"][field], sum(event[field] for event in steps), places=6, msg=field)
        self.assertEqual(run["series"]["loss"], [event["loss"] for event in steps])
        self.assertEqual(run["series"]["step"], [event["step"] for event in steps])
        self.assertEqual(run["test_acc"], events(run_dir, "run_end")[0]["test_acc"])
        return run, steps

    def test_sums_are_those_of_the_events(self):
        for run_dir in (self.split, self.data, self.resumed):
            with self.subTest(run_dir=run_dir):
                self.check_sums(run_dir)

    def test_workers_add_up_to_the_steps(self):
        for run_dir, world in ((self.split, 3), (self.data, 2)):
            run, steps = self.check_sums(run_dir)
            self.assertEqual((len(run["workers"]), run["worker_steps"]), (world, len(steps)))
            for field in ("seeds", "edges", "input_rows", "shuffle_bytes"):
                self.assertEqual(sum(worker[field] for worker in run["workers"]), sum(event[field] for event in steps), field)
            for event in steps:  # a step's time is that of its slowest worker
                for field in ("sample_s", "load_s", "compute_s", "comm_s"):
                    self.assertAlmostEqual(max(event["workers"][field]), event[field], delta=1e-6)
                self.assertGreater(min(event["workers"]["peak_rss_bytes"]), 1 << 20)

    def test_memory_of_gpus_is_shown_where_there_is_some(self):
        pages = []
        for held in ([], [[1 << 20, 7 << 20], [2 << 20, 3 << 20]]):
            lists = [{"steps": 1, "edges": [1, 1], **({"device_bytes": now} if held else {})} for now in held or [None, None]]
            run = write_run(self.scratch / f"gpus-{len(held)}", [start(world=2), *(step(s, workers=lists[s - 1]) for s in (1, 2))])
            self.must("report", run)
            pages.append((run / "report.html").read_text(encoding="utf-8"))
            digest = json.loads(self.must("report", run, "--json").stdout)["runs"][0]
            self.assertEqual([worker["device_bytes"] for worker in digest["workers"]], [2 << 20, 7 << 20] if held else [0, 0])
        self.assertEqual([page.count('<th scope="col">GPU memory') for page in pages], [0, 1])
        self.assertEqual(pages[1].count("<td>7.34 MB</td>"), 1)

    def test_layers_add_up_to_the_shuffle(self):
        for run_dir, routes in ((self.split, {"pull", "project", "mixed"}), (self.data, {"cache", "none"})):
            run, steps = self.check_sums(run_dir)
            for field, layer_field in (("shuffle_bytes", "bytes"), ("shuffle_bytes_pull", "bytes_pull")):
                for event in steps:
                    self.assertEqual(sum(layer[layer_field] for layer in event["shuffle_layers"]), event[field])
                self.assertEqual(sum(route[layer_field] for layer in run["layers"] for route in layer.values()), run["totals"][field])
            self.assertEqual(len(run["layers"]), 2)
            self.assertLessEqual(set(itertools.chain.from_iterable(run["layers"])), routes)
            self.assertGreater(run["totals"]["shuffle_bytes"], 0)

    def test_routes_are_named_as_asked_for(self):
        for flags, routes in ((["--route", "push"], {"push"}), (["--route", "pull", "--order", "aggregate"], {"pull"}), (["--route", "pull"], {"pull", "project"}), (["--route", "project", "--hidden", 8], {"project"}),
                              (["--mode", "p3"], {"columns", "none"}), (["--workers", 1], {"none"})):
            flags = ["--workers", 2, "--max-steps", 2, "--eval-every", 0, "--fanout", "5,3", "--hidden", 16, *flags]
            run = digest(self, self.train(self.dataset, *flags))[0]
            self.assertEqual(set(itertools.chain.from_iterable(run["layers"])), routes, flags)

    def test_a_resume_counts_each_step_once(self):
        run, steps = self.check_sums(self.resumed)
        self.assertEqual([event["step"] for event in steps], list(range(1, 15)))
        self.assertEqual(run["resumed_after"], [8])
        self.assertEqual(run["set_aside"], [{"file": "events.1.jsonl", "steps": 4, "first_step": 9, "last_step": 12}])
        begun = events(self.resumed, "resume")[0]["time"]
        times = [json.loads(line)["time"] for line in (self.resumed / "events.jsonl").read_text().splitlines()]
        before = max(time for time in times if time < begun)
        self.assertAlmostEqual(run["elapsed"], times[-1] - times[0] - (begun - before), places=5)

    def test_seeds_are_runs(self):
        runs = digest(self, self.seeds)
        self.assertEqual([run["name"] for run in runs], [f"{self.seeds.name}/seed-{k}" for k in (0, 1)])
        page = self.scratch / "seeds.html"
        self.must("report", self.seeds, "--out", page)
        mean = 100 * sum(run["test_acc"] for run in runs) / 2
        self.assertIn(f"over 2 runs: {mean:.2f} % mean", page.read_text(encoding="utf-8"))
        self.must("report", self.seeds / "seed-0", self.split, "--out", page)
        self.assertNotIn("% mean", page.read_text(encoding="utf-8"))  # of runs that differ it says nothing

    def test_states(self):
        end = {"event": "run_end", "time": 200.0, "status": "stopped", "reason": "gsplit stop", "best_valid_acc": None, "test_acc": None}
        runs = self.scratch / "states"
        for name, lines, state in (("ended", [start(), step(1), end], "stopped"), ("failed", [start(), step(1)], "failed"),
                                   ("again", [start(), step(1), end, {**start(), "event": "resume", "step": 1}, step(2)], "failed")):
            self.assertEqual(digest(self, write_run(runs / name, lines))[0]["state"], state)
        running = write_run(runs / "running", [start(), step(1)])
        (running / ".lock").touch()
        with open(running / ".lock", encoding="utf-8") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            self.assertEqual(digest(self, running)[0]["state"], "running")
        self.assertEqual(digest(self, running)[0]["state"], "failed")

    def test_a_last_line_cut_short_is_no_fault(self):
        run = digest(self, write_run(self.scratch / "cut", [start(), step(1), step(2), step(3)], cut=True))[0]
        self.assertEqual((run["totals"]["steps"], run["unreadable_lines"]), (2, 0))

    def test_any_prefix_can_be_read(self):
        text = (self.split / "events.jsonl").read_bytes()
        for part in range(0, 12, 1 if FULL else 3):
            directory = self.scratch / f"prefix-{part}"
            directory.mkdir()
            (directory / "events.jsonl").write_bytes(text[: len(text) * part // 11 - (3 if part % 2 else 0)] if part else b"")
            self.assertEqual(self.gsplit("report", directory).returncode, 0)

    def test_nonsense_is_passed_over(self):
        lines = [start(), "nonsense", "[1,2]", '{"event":7}', "{}", '{"event":"step"' + "[" * 5000,
                 step(1, loss=None, edges="many", workers={"edges": [1, "x", None], "steps": -3}, shuffle_layers=[None, {"bytes": "x"}]),
                 step(2, loss=1e308, seeds=-1e308, workers=[], shuffle_layers={"a": 1}), {"event": "epoch", "time": "soon", "epoch": -1},
                 '{"event":"step","time":1e999,"step":1e30,"loss":1e999}', {"event": "run_end", "status": ["x"], "time": 1e300}]
        run = digest(self, write_run(self.scratch / "nonsense", lines))[0]
        self.assertEqual(run["totals"]["steps"], 2)
        self.assertEqual(run["unreadable_lines"], 4)
        self.assertEqual(run["series"]["loss"], [None, 1e308])

    def test_many_steps_take_little_room(self):
        lines = [start()] + [step(n, loss=math.sin(n), seeds=n) for n in range(1, 6001)]
        run = digest(self, write_run(self.scratch / "long", lines))[0]
        series = run["series"]
        self.assertLessEqual(len(series["step"]), 512)
        self.assertEqual((sum(series["steps"]), series["step"][-1]), (6000, 6000))
        self.assertEqual(run["totals"]["seeds"], 6000 * 6001 / 2)
        begin = 0
        for i, count in enumerate(series["steps"]):
            values = [math.sin(n) for n in range(begin + 1, begin + count + 1)]
            begin += count
            self.assertAlmostEqual(series["loss"][i], sum(values) / count, places=9)
            self.assertEqual((series["loss_min"][i], series["loss_max"][i]), (min(values), max(values)))
        self.must("report", self.scratch / "long")
        self.assertLess((self.scratch / "long" / "report.html").stat().st_size, 300_000)

    def test_wrong_use_is_told_in_a_line(self):
        empty = self.scratch / "empty"
        empty.mkdir()
        for arguments in ([empty], [self.scratch / "nowhere"], [self.split, self.data], []):
            wrong = self.gsplit("report", *arguments)
            self.assertEqual(wrong.returncode, 2, arguments)
            self.assertRegex(wrong.stderr, r"^gsplit: .*\n$")

    def test_json_leaves_no_page(self):
        (self.split / "report.html").unlink(missing_ok=True)
        digest(self, self.split)
        self.assertFalse((self.split / "report.html").exists())
        self.assertEqual(self.must("report", self.split).stdout.strip(), str(self.split / "report.html"))
        self.assertEqual([path.name for path in self.split.glob(".report*")], [])


FULL = "GSPLIT_FULL_TESTS" in os.environ

LINEAR = """(() => { const list = [];
  for (const figure of document.querySelectorAll('figure')) {
    const plot = figure.querySelector('.plot');
    list.push({chart: figure.dataset.chart, title: figure.querySelector('figcaption').textContent, empty: !figure.querySelector('svg'),
      x: plot && plot.dataset.x, y: plot && plot.dataset.y, log: plot && plot.dataset.log, frame: plot && plot.dataset.frame,
      curves: [...figure.querySelectorAll('path.curve')].map(p => [p.dataset.series, p.getAttribute('d')]),
      bars: [...figure.querySelectorAll('rect[data-value]')].map(r => [r.dataset.bar ?? Number(r.dataset.worker), r.dataset.part, Number(r.dataset.value), r.getBBox().width, r.getBBox().height]),
      marks: [...figure.querySelectorAll('[data-mark]')].map(m => Number(m.dataset.mark))}); }
  return list; })()"""

# What sticks out of the page at the right, but for what lies in a box that scrolls.
OVERFLOW = """(() => [document.documentElement.scrollWidth - document.documentElement.clientWidth,
  [...document.querySelectorAll('body *')].filter(e => !e.closest('.scroll table, svg') && e.getBoundingClientRect().right > innerWidth + 1).map(e => e.outerHTML.slice(0, 80))])()"""

# Contrast of texts with the ground that they stand on, as WCAG 2 counts it: the least of the page.
CONTRAST = """(() => {
  const parse = (c) => { const m = c.match(/[\\d.]+/g).map(Number); return m.length > 3 && m[3] === 0 ? null : m.slice(0, 3); };
  const light = (c) => { const [r, g, b] = c.map(v => { v /= 255; return v <= 0.03928 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4; }); return 0.2126 * r + 0.7152 * g + 0.0722 * b; };
  let least = [99, ''];
  for (const e of document.querySelectorAll('h1, h2, p, th, td, dt, dd, summary, label, svg text, figcaption, .legend span, footer')) {
    let ground = null;
    for (let at = e; at && !ground; at = at.parentElement) ground = parse(getComputedStyle(at).backgroundColor);
    const style = getComputedStyle(e), ink = parse(e instanceof SVGElement ? style.fill : style.color);
    const [a, b] = [light(ink), light(ground)].sort((x, y) => y - x);
    const ratio = (a + 0.05) / (b + 0.05);
    if (ratio < least[0]) least = [ratio, e.outerHTML.slice(0, 90)];
  }
  return least; })()"""


def points(figure, series):
    """The values that a curve shows, read off its places."""
    x0, x1 = map(float, figure["x"].split())
    y0, y1 = map(float, figure["y"].split())
    left, right, top, bottom = map(float, figure["frame"].split())
    path = dict(figure["curves"])[series]
    found = []
    for x, y in re.findall(r"[ML]([-\d.]+) ([-\d.]+)", path):
        found.append((x0 + (float(x) - left) / (right - left) * (x1 - x0), y0 + (bottom - float(y)) / (bottom - top) * (y1 - y0)))
    pixel = (x1 - x0) / (right - left), (y1 - y0) / (bottom - top)
    return found, pixel


class Page(Runs):
    """The page, as a browser shows it."""

    @classmethod
    def setUpClass(cls):
        if browser.executable() is None:
            print("skipped: the report's page in a browser, Chromium is missing (deploy/install.sh)")
            raise unittest.SkipTest("no Chromium")
        super().setUpClass()
        cls.page = cls.scratch / "page.html"
        cls.must("report", cls.split, "--out", cls.page)
        cls.both = cls.scratch / "both.html"
        cls.must("report", cls.split, cls.data, "--out", cls.both)
        lines = [start(config=f"mode: {HOSTILE}\n{HOSTILE}: 1\nmodel: \"<b>x</b>\"\n", dataset=HOSTILE, device=HOSTILE, metric=HOSTILE),
                 step(1, shuffle_layers=[{"route": HOSTILE, "bytes": 5}]), step(2),
                 {"event": "run_end", "time": 200.0, "status": HOSTILE, "reason": HOSTILE, "test_acc": 0.5}]
        directory = write_run(cls.scratch / "<img src=x onerror=alert(2)>&\"'", lines)
        again = write_run(cls.scratch / "other" / directory.name, lines)
        cls.hostile = cls.scratch / "hostile.html"
        cls.must("report", directory, again, "--out", cls.hostile)
        cls.nothing = cls.scratch / "nothing.html"
        cls.must("report", write_run(cls.scratch / "just begun", [start()]), "--out", cls.nothing)
        cls.browser = browser.Browser().__enter__()

    @classmethod
    def tearDownClass(cls):
        cls.browser.__exit__()
        super().tearDownClass()

    def figures(self, page):
        return {figure["chart"]: figure for figure in page.value(LINEAR)}

    def check_curve(self, figure, series, xs, ys):
        found, (dx, dy) = points(figure, series)
        self.assertEqual(len(found), len(xs), figure["chart"])
        for (x, y), true_x, true_y in zip(found, xs, ys):
            self.assertAlmostEqual(x, true_x, delta=0.02 * dx)  # places have two decimals
            self.assertAlmostEqual(y, true_y, delta=0.02 * dy)

    def test_fits_every_screen_in_both_colours(self):
        screens = ((390, True), (1280, False), (320, False), (1280, True))
        for path, (width, dark) in itertools.product((self.page, self.both, self.hostile, self.nothing), screens):
            if path == self.page or FULL or (width, dark) in screens[:2]:
                self.check_screen(path, width, dark)

    def check_screen(self, path, width, dark):
        with self.subTest(path=path.name, width=width, dark=dark):
            page = self.browser.open(path, width=width, dark=dark)
            self.assertEqual(page.value(OVERFLOW), [0, []])
            self.assertEqual(page.console(), [])
            self.assertEqual(page.requests(), [path.as_uri()])
            ratio, where = page.value(CONTRAST)
            self.assertGreater(ratio, 4.5, where)
            self.assertEqual(page.value("parseInt(getComputedStyle(document.body).backgroundColor.slice(4))") < 128, dark)

    def test_curves_are_the_events(self):
        steps, epochs = events(self.split, "step"), events(self.split, "epoch")
        figures = self.figures(self.browser.open(self.page))
        self.assertFalse([name for name, figure in figures.items() if figure["empty"]])
        xs = [event["step"] for event in steps]
        self.check_curve(figures["loss"], self.split.name, xs, [event["loss"] for event in steps])
        lasts = [max(event["step"] for event in steps if event["epoch"] == epoch["epoch"]) for epoch in epochs]
        self.check_curve(figures["accuracy"], "validation", lasts, [epoch["valid_acc"] for epoch in epochs])
        self.check_curve(figures["accuracy"], "training", lasts, [epoch["train_acc"] for epoch in epochs])
        for series, field in zip(STAGES, TIMES):
            self.check_curve(figures["stages-over-time"], series, xs, [event[field] for event in steps])
        for series, field in (("shuffle", "shuffle_bytes"), ("plain pull", "shuffle_bytes_pull"), ("ids and plans", "plan_bytes"), ("gradients", "allreduce_bytes")):
            self.check_curve(figures["traffic"], series, xs, [event[field] for event in steps])
        self.check_curve(figures["throughput"], self.split.name, xs, [event["seeds"] / took for event, took in zip(steps, clock(self.split))])
        self.check_curve(figures["memory-over-time"], self.split.name, lasts, [epoch["peak_rss_bytes"] for epoch in epochs])

    def test_bars_are_the_events(self):
        steps = events(self.split, "step")
        figures = self.figures(self.browser.open(self.page))
        mean = {field: sum(event[field] for event in steps) / len(steps) for field in COUNTS + TIMES}
        found = {part: value for _, part, value, _, _ in figures["stages"]["bars"]}
        for part, field in zip(STAGES, TIMES):
            self.assertAlmostEqual(found[part], mean[field], places=9)
        self.assertAlmostEqual(figures["stages"]["marks"][0], sum(clock(self.split)) / len(steps), places=6)
        self.assertAlmostEqual(sum(value for *_, value, _, _ in figures["rows"]["bars"]), mean["input_rows"], places=6)
        self.assertAlmostEqual(sum(value for *_, value, _, _ in figures["layers"]["bars"]), mean["shuffle_bytes"], places=6)
        self.assertAlmostEqual(sum(figures["layers"]["marks"]), mean["shuffle_bytes_pull"], places=6)
        loads = {(worker, part): value for worker, part, value, _, _ in figures["worker-loads"]["bars"]}
        edges = [sum(event["workers"]["edges"][p] for event in steps) for p in range(3)]
        for p in range(3):
            self.assertAlmostEqual(loads[p, "edges"], 3 * edges[p] / sum(edges), places=9)
        peaks = [max(event["workers"]["peak_rss_bytes"][p] for event in steps) for p in range(3)]
        self.assertEqual([value for *_, value, _, _ in figures["memory"]["bars"]], peaks)
        # Lengths are in proportion to values.
        for chart, side in (("stages", 3), ("layers", 3), ("worker-loads", 4), ("worker-times", 4), ("memory", 4)):
            bars = figures[chart]["bars"]
            most = max(bars, key=lambda bar: bar[2])
            for bar in bars:
                self.assertAlmostEqual(bar[side] / most[side], bar[2] / most[2], delta=0.01)

    def test_several_runs(self):
        page = self.browser.open(self.both)
        figures = self.figures(page)
        for run_dir in (self.split, self.data):
            steps = events(run_dir, "step")
            self.check_curve(figures["loss"], run_dir.name, [event["step"] for event in steps], [event["loss"] for event in steps])
        differing = page.value("[...document.querySelectorAll('.differing tbody tr')].map(r => [...r.children].map(c => c.textContent))")
        self.assertIn(["mode", "split", "data"], differing)
        self.assertIn(["epochs", "3", "2"], differing)
        self.assertNotIn("model", [row[0] for row in differing])
        # The details are of the run that is chosen.
        self.assertEqual(len(figures["memory"]["bars"]), 3)
        page.value("(() => { const s = document.getElementById('run'); s.value = 1; s.dispatchEvent(new Event('change')); })()")
        self.assertEqual(len(self.figures(page)["memory"]["bars"]), 2)
        # By seconds, logarithmic, and without one of the runs.
        page.value("(() => { const s = document.getElementById('axis'); s.value = 'elapsed'; s.dispatchEvent(new Event('change')); document.getElementById('log').click(); })()")
        page.value("document.querySelector('figure[data-chart=loss] .legend button').click()")
        figure = self.figures(page)["loss"]
        self.assertEqual([name for name, _ in figure["curves"]], [self.data.name])
        self.assertEqual(figure["log"], "1")
        times = [event["time"] for event in events(self.data, "step")]
        found, (dx, _) = points(figure, self.data.name)
        begin = events(self.data, "run_start")[0]["time"]
        for (x, _), time in zip(found, times):
            self.assertAlmostEqual(x, time - begin, delta=0.02 * dx + 1e-5)

    def test_the_pointer_reads_values(self):
        page = self.browser.open(self.page)
        place = page.value("(() => { const b = document.querySelector('figure[data-chart=loss] svg').getBoundingClientRect(); return [b.right - 12, b.top + 60]; })()")
        page.move_to(*place)
        tip = page.value("document.querySelector('figure[data-chart=loss] .tip').textContent")
        last = events(self.split, "step")[-1]
        self.assertEqual(tip.splitlines()[0], f"step {last['step']}")
        self.assertAlmostEqual(float(tip.rsplit(" ", 1)[1]), last["loss"], delta=1e-3 * last["loss"])

    def test_what_files_say_is_text(self):
        page = self.browser.open(self.hostile)
        self.assertEqual(page.console(), [])
        self.assertEqual(page.value("document.querySelectorAll('img, b, script:not(#data)').length"), 1)
        self.assertIn("<img src=x onerror=alert(2)>", page.value("document.body.innerText"))
        self.assertIn("<b>x</b>", page.value("document.body.textContent"))
        self.assertEqual(page.value("JSON.parse(document.getElementById('data').textContent).runs[0].dataset"), HOSTILE)

    def test_tables_stand_without_scripts(self):
        page = self.browser.open(self.page, scripts=False)
        text = page.browser.call("DOM.getOuterHTML", page.session, nodeId=page.call("DOM.getDocument")["root"]["nodeId"])["outerHTML"]
        last = events(self.split, "epoch")[-1]
        self.assertIn(f"{100 * last['valid_acc']:.2f} %", text)
        self.assertEqual(text.count("<svg"), 0)

    def test_many_workers_and_runs_fit(self):
        workers = {key: list(range(1, 65)) for key in ("seeds", "edges", "input_rows", "shuffle_bytes", "sample_s", "compute_s", "peak_rss_bytes", "device_bytes")}
        many = [write_run(self.scratch / f"many-{n}-with-quite-a-long-name", [start(world=64), *(step(s, workers={"steps": 1, **workers}) for s in (1, 2))]) for n in range(10)]
        path = self.scratch / "many.html"
        self.must("report", *many, "--out", path)
        for width in (390, 1280):
            page = self.browser.open(path, width=width)
            self.assertEqual((page.value(OVERFLOW), page.console()), ([0, []], []))
            self.assertEqual(len(self.figures(page)["memory"]["bars"]), 128)


if __name__ == "__main__":
    unittest.main()
