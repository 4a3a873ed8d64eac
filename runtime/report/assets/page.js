"use strict";
// Draws the charts from the data of the page. Texts of the data become text nodes and attributes, never markup.
(() => {
  const runs = JSON.parse(document.getElementById("data").textContent).runs;
  const SVG = "http://www.w3.org/2000/svg";
  const DASHES = ["", "7 4", "2 3", "10 3 2 3"];
  const STAGES = [["sample_s", "sample", 0], ["load_s", "load", 1], ["compute_s", "compute", 2], ["comm_s", "communicate", 3], ["plan_wait_s", "wait for plan", 6], ["prepare_wait_s", "wait for sample", 5]];
  const ROUTES = ["pull", "project", "mixed", "push", "columns", "cache"];
  const HEIGHT = 236;
  let chosen = 0;  // the run whose details are shown

  const color = (i) => `var(--c${i % 8})`;
  const dash = (i) => DASHES[Math.floor(i / 8) % DASHES.length];

  function node(parent, name, attributes, text) {
    const made = name.startsWith("svg:") ? document.createElementNS(SVG, name.slice(4)) : document.createElement(name);
    for (const [key, value] of Object.entries(attributes || {})) made.setAttribute(key, value);
    if (text !== undefined) made.textContent = text;
    if (parent) parent.appendChild(made);
    return made;
  }

  // ---- numbers for people

  function trimmed(value, digits) { return String(Number(value.toPrecision(digits))); }
  function plain(value) {
    if (value === 0) return "0";
    const size = Math.abs(value);
    if (size >= 1e15 || size < 1e-4) return value.toExponential(1);
    for (const [unit, name] of [[1e12, "T"], [1e9, "G"], [1e6, "M"], [1e4, "k"]]) {
      if (size >= unit) return trimmed(value / (name === "k" ? 1e3 : unit), 4) + (name === "k" ? "k" : name);
    }
    return trimmed(value, 4);
  }
  function bytes(value) {
    if (value === 0) return "0";
    const size = Math.abs(value);
    for (const [unit, name] of [[1e15, "PB"], [1e12, "TB"], [1e9, "GB"], [1e6, "MB"], [1e3, "kB"]]) if (size >= unit) return trimmed(value / unit, 3) + " " + name;
    return trimmed(value, 3) + " B";
  }
  function time(value) {
    if (value === 0) return "0";
    const size = Math.abs(value);
    if (size >= 7200) return trimmed(value / 3600, 3) + " h";
    if (size >= 1) return trimmed(value, 3) + " s";
    return size >= 1e-3 ? trimmed(value * 1e3, 3) + " ms" : trimmed(value * 1e6, 3) + " µs";
  }
  const percent = (value) => trimmed(value * 100, 4) + " %";

  // ---- scales

  function ticks(low, high, about) {
    const rough = (high - low) / about;
    const power = 10 ** Math.floor(Math.log10(rough));
    const step = [1, 2, 2.5, 5, 10].map((f) => f * power).find((s) => s >= rough * 0.999);
    const list = [];
    for (let i = Math.ceil(low / step - 1e-9); i * step <= high + step * 1e-9 && list.length < 50; ++i) list.push(i * step);
    return list;
  }
  function logTicks(low, high) {
    const list = [];
    for (let e = Math.floor(Math.log10(low)); e <= Math.ceil(Math.log10(high)) && list.length < 60; ++e) {
      for (const f of high / low > 1e3 ? [1] : [1, 2, 5]) if (f * 10 ** e >= low * 0.999 && f * 10 ** e <= high * 1.001) list.push(f * 10 ** e);
    }
    return list.length >= 2 ? list : [low, high];
  }
  function extent(lists) {
    let low = Infinity, high = -Infinity;
    for (const list of lists) for (const value of list) if (Number.isFinite(value)) { low = Math.min(low, value); high = Math.max(high, value); }
    return low <= high ? [low, high] : null;
  }

  // ---- the parts of a chart

  function empty(figure, why) {
    clear(figure);
    node(figure, "p", { class: "empty" }, why);
  }
  function clear(figure) {
    for (const child of [...figure.children]) if (child.tagName !== "FIGCAPTION") child.remove();
    const caption = figure.querySelector("figcaption");
    for (const child of [...caption.children]) child.remove();
    return caption;
  }
  function captioned(figure, run, wide) {
    const caption = clear(figure);
    figure.classList.toggle("wide", wide === true);
    if (run && runs.length > 1) node(caption, "span", { class: "of" }, " · " + run.name);
  }
  function swatch(parent, i, line) {
    const box = node(parent, "svg:svg", { viewBox: "0 0 22 10", "aria-hidden": "true" });
    if (line !== undefined) node(box, "svg:line", { x1: 0, x2: 22, y1: 5, y2: 5, "stroke-width": 3, "stroke-dasharray": line, style: `stroke:${color(i)}` });
    else node(box, "svg:rect", { x: 4, width: 14, height: 10, rx: 2, style: `fill:${color(i)}` });
  }
  function legend(figure, entries) {
    const list = node(figure, "ul", { class: "legend" });
    for (const entry of entries) {
      const item = node(list, "li");
      const body = node(item, entry.toggle ? "button" : "span", entry.toggle ? { type: "button", "aria-pressed": String(!entry.hidden) } : {});
      swatch(body, entry.color, entry.line);
      node(body, "span", {}, entry.name).style.padding = "0";
      if (entry.toggle) body.addEventListener("click", entry.toggle);
    }
  }
  function tooltip(figure) {
    const tip = node(figure, "div", { class: "tip", role: "status" });
    return {
      show(text, x) {
        tip.textContent = text;
        tip.style.visibility = "visible";
        tip.style.top = "34px";
        const room = figure.clientWidth - tip.offsetWidth - 8;
        tip.style.left = Math.max(8, Math.min(room, x > figure.clientWidth / 2 ? x - tip.offsetWidth - 10 : x + 14)) + "px";
      },
      hide() { tip.style.visibility = "hidden"; },
    };
  }
  function yAxis(svg, frame, marks, place, format) {
    for (const mark of marks) {
      const y = place(mark);
      node(svg, "svg:line", { class: "grid", x1: frame.left, x2: frame.right, y1: y, y2: y });
      node(svg, "svg:text", { x: frame.left - 6, y: y + 4, "text-anchor": "end" }, format(mark));
    }
  }
  function frameOf(figure, label) {
    const style = getComputedStyle(figure);
    const width = Math.max(200, figure.clientWidth - parseFloat(style.paddingLeft) - parseFloat(style.paddingRight));
    const svg = node(figure, "svg:svg", { viewBox: `0 0 ${width} ${HEIGHT}`, height: HEIGHT, role: "img", "aria-label": label });
    return { svg, left: 58, right: width - 10, top: 10, bottom: HEIGHT - 36 };
  }

  // Lines over steps or seconds. series: {name, x, y, low?, high?, color, dash}.
  function lines(figure, series, options) {
    const hidden = figure.hiddenSeries || (figure.hiddenSeries = new Set());
    const kept = series.filter((s) => s.y.some(Number.isFinite));
    if (!kept.length) return empty(figure, options.none || "Nothing recorded yet.");
    const shown = kept.filter((s) => !hidden.has(s.name));
    const frame = frameOf(figure, figure.querySelector("figcaption").textContent);
    const { svg, left, right, top, bottom } = frame;
    const xs = extent((shown.length ? shown : kept).map((s) => s.x)) || [0, 1];
    if (xs[0] === xs[1]) { xs[0] -= 0.5; xs[1] += 0.5; }
    let ys = extent((shown.length ? shown : kept).flatMap((s) => [s.low || s.y, s.high || s.y])) || [0, 1];
    const log = options.log && ys[0] > 0;
    if (options.zero && !log) ys = [Math.min(0, ys[0]), ys[1]];
    if (ys[0] === ys[1]) ys = log ? [ys[0] / 2, ys[1] * 2] : [ys[0] - (Math.abs(ys[0]) || 1) * 0.1, ys[1] + (Math.abs(ys[1]) || 1) * 0.1];
    else if (!log) {
      // A few peaks, such as a first step, shall not press everything else to the ground.
      const values = shown.flatMap((s) => s.y.filter(Number.isFinite)).sort((a, b) => a - b);
      const usual = values[Math.floor(values.length * 0.97)] * 1.6;
      if (options.peaks && ys[0] >= 0 && usual > 0 && ys[1] > 1.5 * usual) {
        node(figure.querySelector("figcaption"), "span", { class: "of" }, ` · peaks up to ${options.format(ys[1])} are cut off`);
        ys = [ys[0], usual / 1.05];
      }
      const pad = (ys[1] - ys[0]) * 0.05;
      ys = [options.zero && ys[0] === 0 ? 0 : ys[0] - pad, ys[1] + pad];
    }
    const scale = log ? Math.log : (v) => v;
    const px = (x) => left + (x - xs[0]) / (xs[1] - xs[0]) * (right - left);
    const py = (y) => bottom - (scale(y) - scale(ys[0])) / (scale(ys[1]) - scale(ys[0])) * (bottom - top);
    yAxis(svg, frame, log ? logTicks(ys[0], ys[1]) : ticks(ys[0], ys[1], 5), py, options.format);
    for (const mark of ticks(xs[0], xs[1], Math.max(2, Math.min(8, (right - left) / 80)))) {
      node(svg, "svg:text", { x: px(mark), y: bottom + 16, "text-anchor": "middle" }, options.xFormat(mark));
    }
    node(svg, "svg:text", { x: (left + right) / 2, y: bottom + 32, "text-anchor": "middle" }, options.xLabel);
    node(svg, "svg:line", { class: "axis", x1: left, x2: right, y1: bottom, y2: bottom });
    // What a reader of the DOM needs to turn places back into values.
    const clip = "clip-" + figure.dataset.chart;
    node(node(svg, "svg:clipPath", { id: clip }), "svg:rect", { x: left, y: top - 2, width: right - left + 2, height: bottom - top + 4 });
    const plot = node(svg, "svg:g", { class: "plot", "data-x": xs.join(" "), "data-y": ys.join(" "), "data-log": log ? 1 : 0, "data-frame": [left, right, top, bottom].join(" ") });
    for (const s of shown) {
      if (s.low && s.x.length > 1) {
        const ok = s.x.map((_, i) => i).filter((i) => Number.isFinite(s.low[i]) && Number.isFinite(s.high[i]));
        const edge = [...ok.map((i) => [s.x[i], s.high[i]]), ...ok.reverse().map((i) => [s.x[i], s.low[i]])];
        node(plot, "svg:path", { class: "band", d: "M" + edge.map(([x, y]) => `${px(x).toFixed(2)} ${py(y).toFixed(2)}`).join("L") + "Z", style: `fill:${color(s.color)}` });
      }
      let path = "", pen = "M", last = 0;
      for (let i = 0; i < s.x.length; ++i) {
        if (!Number.isFinite(s.y[i])) { if (!s.bridge) pen = "M"; continue; }
        path += `${pen}${px(s.x[i]).toFixed(2)} ${py(s.y[i]).toFixed(2)}`;
        pen = "L";
        last = i;
      }
      node(plot, "svg:path", { class: "curve", "clip-path": `url(#${clip})`, d: path, "data-series": s.name, "stroke-dasharray": s.dash || "", style: `stroke:${color(s.color)}` });
      if (s.y.filter(Number.isFinite).length === 1) node(plot, "svg:circle", { cx: px(s.x[last]), cy: py(s.y[last]), r: 3.5, style: `fill:${color(s.color)}` });
    }
    const cursor = node(svg, "svg:line", { class: "cursor", y1: top, y2: bottom });
    legend(figure, kept.length < 2 && !options.always ? [] : kept.map((s) => ({
      name: s.name, color: s.color, line: s.dash || "", hidden: hidden.has(s.name),
      toggle: () => { if (!hidden.delete(s.name)) hidden.add(s.name); draw(); },
    })));
    const tip = tooltip(figure);
    const leave = () => { tip.hide(); cursor.style.visibility = "hidden"; };
    svg.addEventListener("pointermove", (event) => {
      const box = svg.getBoundingClientRect();
      const x = xs[0] + (event.clientX - box.left - left) / (right - left) * (xs[1] - xs[0]);
      const found = shown.map((s) => {
        let best = -1;
        for (let i = 0; i < s.x.length; ++i) if (Number.isFinite(s.y[i]) && (best < 0 || Math.abs(s.x[i] - x) < Math.abs(s.x[best] - x))) best = i;
        return [s, best];
      }).filter(([, i]) => i >= 0);
      if (!found.length) return leave();
      const at = found.map(([s, i]) => s.x[i]).reduce((a, b) => (Math.abs(b - x) < Math.abs(a - x) ? b : a));
      cursor.setAttribute("x1", px(at));
      cursor.setAttribute("x2", px(at));
      cursor.style.visibility = "visible";
      tip.show([`${options.xLabel} ${options.xFormat(at)}`, ...found.map(([s, i]) => `${s.name}: ${options.format(s.y[i])}`)].join("\n"), event.clientX - figure.getBoundingClientRect().left);
    });
    svg.addEventListener("pointerleave", leave);
  }

  // Stacked bars, one below the other. rows: {name, parts: [{name, value, color}], mark?}.
  function bars(figure, rows, options) {
    rows = rows.filter((row) => row.parts.length);
    const most = Math.max(...rows.flatMap((row) => [row.parts.reduce((sum, p) => sum + p.value, 0), row.mark || 0]));
    if (!rows.length || !(most > 0)) return empty(figure, options.none || "Nothing recorded yet.");
    const frame = frameOf(figure, figure.querySelector("figcaption").textContent);
    const row = 44, height = rows.length * row + 26;
    frame.svg.setAttribute("viewBox", `0 0 ${frame.right + 10} ${height}`);
    frame.svg.setAttribute("height", height);
    const left = 2, right = frame.right, px = (value) => left + value / most * (right - left - 4);
    const tip = tooltip(figure);
    rows.forEach((entry, i) => {
      const y = i * row, sum = entry.parts.reduce((total, p) => total + p.value, 0);
      node(frame.svg, "svg:text", { x: left, y: y + 13 }, entry.name);
      node(frame.svg, "svg:text", { x: right, y: y + 13, "text-anchor": "end" }, options.format(sum));
      let before = 0;
      for (const part of entry.parts) {
        const box = node(frame.svg, "svg:rect", { x: px(before), y: y + 19, width: Math.max(0, px(before + part.value) - px(before)), height: 16, "data-bar": entry.name, "data-part": part.name, "data-value": part.value, style: `fill:${color(part.color)}` });
        box.addEventListener("pointermove", (event) => tip.show(`${entry.name}\n${part.name}: ${options.format(part.value)} (${percent(part.value / (sum || 1))})`, event.clientX - figure.getBoundingClientRect().left));
        box.addEventListener("pointerleave", tip.hide);
        before += part.value;
      }
      if (entry.mark) node(frame.svg, "svg:line", { class: "mark", x1: px(entry.mark), x2: px(entry.mark), y1: y + 15, y2: y + 39, "data-mark": entry.mark });
    });
    for (const mark of ticks(0, most, Math.max(2, (right - left) / 110))) {
      node(frame.svg, "svg:text", { x: px(mark), y: height - 6, "text-anchor": mark === 0 ? "start" : px(mark) > right - 26 ? "end" : "middle" }, options.format(mark));
    }
    const names = new Map();
    for (const entry of rows) for (const part of entry.parts) if (part.value > 0) names.set(part.name, part.color);
    legend(figure, [...names].map(([name, color]) => ({ name, color })));
  }

  // Columns, one group a worker: stacked, or side by side. sets: {name, values, color}.
  function columns(figure, sets, options) {
    const count = Math.max(0, ...sets.map((s) => s.values.length));
    const tops = options.stacked ? [...Array(count).keys()].map((i) => sets.reduce((sum, s) => sum + (s.values[i] || 0), 0)) : sets.flatMap((s) => s.values);
    const most = Math.max(0, ...tops);
    if (!count || !(most > 0)) return empty(figure, options.none || "Nothing recorded yet.");
    const frame = frameOf(figure, figure.querySelector("figcaption").textContent);
    const { svg, left, right, top, bottom } = frame;
    const py = (y) => bottom - y / (most * 1.05) * (bottom - top);
    yAxis(svg, frame, ticks(0, most * 1.05, 5), py, options.format);
    const slot = (right - left) / count, gap = Math.min(10, slot * 0.2), width = slot - gap;
    const tip = tooltip(figure);
    for (let i = 0; i < count; ++i) {
      let before = 0;
      sets.forEach((s, k) => {
        const value = s.values[i] || 0, x = left + i * slot + gap / 2;
        const place = options.stacked ? { x, width, y: py(before + value), height: py(before) - py(before + value) } : { x: x + k * width / sets.length, width: width / sets.length * (sets.length > 1 ? 0.92 : 1), y: py(value), height: bottom - py(value) };
        node(svg, "svg:rect", { ...place, "data-worker": i, "data-part": s.name, "data-value": value, style: `fill:${color(s.color)}` });
        before += value;
      });
      const zone = node(svg, "svg:rect", { x: left + i * slot, width: slot, y: top, height: bottom - top, fill: "transparent" });
      zone.addEventListener("pointermove", (event) => tip.show([`worker ${i}`, ...sets.map((s) => `${s.name}: ${options.format(s.values[i] || 0)}`)].join("\n"), event.clientX - figure.getBoundingClientRect().left));
      zone.addEventListener("pointerleave", tip.hide);
    }
    for (let i = 0, every = Math.ceil(count / Math.max(1, Math.floor((right - left) / 34))); i < count; i += every) node(svg, "svg:text", { x: left + (i + 0.5) * slot, y: bottom + 16, "text-anchor": "middle" }, String(i));
    node(svg, "svg:text", { x: (left + right) / 2, y: bottom + 32, "text-anchor": "middle" }, "worker");
    node(svg, "svg:line", { class: "axis", x1: left, x2: right, y1: bottom, y2: bottom });
    if (sets.length > 1) legend(figure, sets.map((s) => ({ name: s.name, color: s.color })));
  }

  // ---- what the charts show

  const axis = () => document.getElementById("axis").value;
  const xOptions = () => (axis() === "step" ? { xLabel: "step", xFormat: plain } : { xLabel: "seconds", xFormat: plain });
  const scaled = (list, by) => list.map((value) => (value === null ? NaN : value * by));
  const mean = (run, key) => (run.totals.steps ? run.totals[key] / run.totals.steps : 0);
  const overSteps = (run) => run.series[axis()];

  const charts = {
    loss(figure) {
      captioned(figure);
      lines(figure, runs.map((run, i) => {
        const binned = run.series.steps.some((n) => n > 1);
        const list = (key) => scaled(run.series[key], 1);
        return { name: run.name, x: overSteps(run), y: list("loss"), color: i, dash: dash(i), low: binned ? list("loss_min") : null, high: binned ? list("loss_max") : null };
      }), { ...xOptions(), format: plain, log: document.getElementById("log").checked, none: "No step recorded yet." });
    },
    accuracy(figure) {
      captioned(figure);
      const series = [];
      runs.forEach((run, i) => {
        const x = run.epochs.map((e) => e[axis()]);
        const prefix = runs.length > 1 ? run.name + ", " : "";
        const single = runs.length === 1;
        series.push({ name: prefix + "validation", x, y: run.epochs.map((e) => e.valid_acc ?? NaN), color: i, dash: dash(i), bridge: true });
        series.push({ name: prefix + "training", x, y: run.epochs.map((e) => e.train_acc ?? NaN), color: single ? 1 : i, dash: "5 4", bridge: true });
      });
      lines(figure, series, { ...xOptions(), format: percent, always: true, none: "No epoch finished yet." });
    },
    stages(figure) {
      captioned(figure, null, true);
      bars(figure, runs.map((run) => ({ name: run.name, parts: STAGES.map(([key, name, color]) => ({ name, value: mean(run, key), color })), mark: mean(run, "step_s") })), { format: time });
    },
    "stages-over-time"(figure, run) {
      captioned(figure, run);
      lines(figure, STAGES.map(([key, name, color]) => ({ name, x: overSteps(run), y: run.series[key], color })), { ...xOptions(), format: time, zero: true, peaks: true });
    },
    throughput(figure) {
      captioned(figure);
      lines(figure, runs.map((run, i) => {
        const took = run.series.step_s;
        return { name: run.name, x: overSteps(run), y: run.series.seeds.map((n, k) => (took[k] > 0 ? n / took[k] : NaN)), color: i, dash: dash(i) };
      }), { ...xOptions(), format: plain, zero: true });
    },
    "worker-loads"(figure, run) {
      captioned(figure, run);
      columns(figure, [["edges", "edges", 0], ["input_rows", "input rows", 1], ["seeds", "seeds", 2]].map(([key, name, color]) => {
        const total = run.workers.reduce((sum, worker) => sum + worker[key], 0);
        return { name, color, values: run.workers.map((worker) => (total ? worker[key] * run.workers.length / total : 0)) };
      }), { format: percent });
    },
    "worker-times"(figure, run) {
      captioned(figure, run);
      columns(figure, STAGES.slice(0, 4).map(([key, name, color]) => ({ name, color, values: run.workers.map((worker) => worker[key] / (run.worker_steps || 1)) })), { format: time, stacked: true });
    },
    layers(figure, run) {
      captioned(figure, run);
      bars(figure, run.layers.map((routes, l) => {
        const steps = Object.values(routes).reduce((sum, r) => sum + r.steps, 0) || 1;
        return {
          name: `layer ${l + 1}`,
          parts: Object.entries(routes).filter(([name]) => name !== "none").map(([name, r]) => ({ name, value: r.bytes / steps, color: ROUTES.indexOf(name) < 0 ? 6 : ROUTES.indexOf(name) })),
          mark: Object.values(routes).reduce((sum, r) => sum + r.bytes_pull, 0) / steps,
        };
      }), { format: bytes, none: "Nothing is shuffled." });
    },
    traffic(figure, run) {
      captioned(figure, run);
      const list = [["shuffle_bytes", "shuffle"], ["shuffle_bytes_pull", "plain pull"], ["plan_bytes", "ids and plans"], ["allreduce_bytes", "gradients"]];
      lines(figure, list.map(([key, name], i) => ({ name, x: overSteps(run), y: run.series[key], color: [0, 6, 5, 3][i], dash: i === 1 ? "5 4" : "" })), { ...xOptions(), format: bytes, zero: true });
    },
    rows(figure) {
      captioned(figure, null, true);
      const places = [["rows_cache", "own cache"], ["rows_remote", "another worker's cache"], ["rows_disk", "shard"]];
      bars(figure, runs.map((run) => ({ name: run.name, parts: places.map(([key, name], i) => ({ name, value: mean(run, key), color: [2, 0, 5][i] })) })), { format: plain });
    },
    memory(figure, run) {
      captioned(figure, run);
      const list = [{ name: "peak RSS", color: 0, values: run.workers.map((worker) => worker.peak_rss_bytes) }];
      if (run.workers.some((worker) => worker.device_bytes > 0)) list.push({ name: "GPU memory", color: 5, values: run.workers.map((worker) => worker.device_bytes) });
      columns(figure, list, { format: bytes });
    },
    "memory-over-time"(figure) {
      captioned(figure);
      lines(figure, runs.map((run, i) => ({ name: run.name, x: run.epochs.map((e) => e[axis()]), y: run.epochs.map((e) => e.peak_rss_bytes ?? NaN), color: i, dash: dash(i) })), { ...xOptions(), format: bytes, zero: true, none: "No epoch finished yet." });
    },
  };

  function draw() {
    for (const figure of document.querySelectorAll("figure[data-chart]")) charts[figure.dataset.chart](figure, runs[chosen]);
  }

  for (const id of ["axis", "log"]) document.getElementById(id).addEventListener("change", draw);
  const choice = document.getElementById("run");
  if (choice) choice.addEventListener("change", () => { chosen = Number(choice.value); draw(); });
  let width = 0;
  new ResizeObserver(() => {
    if (document.body.clientWidth !== width) { width = document.body.clientWidth; draw(); }
  }).observe(document.body);
  draw();
})();
