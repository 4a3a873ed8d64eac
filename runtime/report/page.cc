#include "runtime/report/page.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <ctime>
#include <nlohmann/json.hpp>
#include <set>

#include "kernels/base/error.h"
#include "runtime/report/assets.h"
#include "runtime/report/digest_json.h"

namespace gsplit {
namespace {

using Cells = std::vector<std::string>;

/// Of UTF-8 whatever came in.
std::string valid_utf8(const std::string& text) {
  const auto replaced =
      nlohmann::json(text).dump(-1, ' ', false, nlohmann::json::error_handler_t::replace);
  return nlohmann::json::parse(replaced).get<std::string>();
}

/// Data for a script element: no text in it may end that.
std::string script_data(const nlohmann::ordered_json& data) {
  std::string text = data.dump(-1, ' ', true, nlohmann::ordered_json::error_handler_t::replace);
  std::string safe;
  for (const char c : text) {
    if (c == '<' || c == '>' || c == '&') {
      safe += fmt::format("\\u{:04x}", static_cast<int>(c));
    } else {
      safe += c;
    }
  }
  return safe;
}

std::string percent(const std::optional<double>& share) {
  return share ? fmt::format("{:.2f} %", 100 * *share) : "–";
}

std::string bytes(double value) {
  static constexpr std::array units{"B", "kB", "MB", "GB", "TB", "PB"};
  std::size_t unit = 0;
  while (std::abs(value) >= 1000 && unit + 1 < units.size()) {
    value /= 1000;
    ++unit;
  }
  return fmt::format("{:.{}f} {}", value, unit == 0 || value >= 100 ? 0 : (value >= 10 ? 1 : 2),
                     units[unit]);
}

std::string seconds(double value) {
  if (value >= 3600) return fmt::format("{:.1f} h", value / 3600);
  if (value >= 120) return fmt::format("{:.1f} min", value / 60);
  if (value >= 1 || value == 0) return fmt::format("{:.1f} s", value);
  return value >= 0.001 ? fmt::format("{:.1f} ms", value * 1e3)
                        : fmt::format("{:.0f} µs", value * 1e6);
}

/// Thousands apart.
std::string whole(double value) {
  std::string digits = fmt::format("{:.0f}", value);
  for (int place = static_cast<int>(digits.size()) - 3; place > (digits[0] == '-' ? 1 : 0);
       place -= 3) {
    digits.insert(static_cast<std::size_t>(place), " ");
  }
  return digits;
}

std::string date(const std::optional<double>& time) {
  if (!time || *time < 0 || *time > 1e11) return "–";
  const auto since = static_cast<std::time_t>(*time);
  std::tm utc{};
  if (gmtime_r(&since, &utc) == nullptr) return "–";
  return fmt::format("{:04}-{:02}-{:02} {:02}:{:02} UTC", utc.tm_year + 1900, utc.tm_mon + 1,
                     utc.tm_mday, utc.tm_hour, utc.tm_min);
}

double share(double part, double whole) { return whole > 0 ? part / whole : 0; }

double figure(const StepBin& total, const char* field) {
  const auto place =
      std::find_if(kStepFields.begin(), kStepFields.end(),
                   [field](const char* name) { return std::string_view(name) == field; });
  GSPLIT_CHECK(place != kStepFields.end());
  return total.sums[static_cast<std::size_t>(place - kStepFields.begin())];
}

/// A table in a box of its own, which scrolls where the page is narrow. Cells are texts; the first
/// one of a row is its head.
std::string table(const Cells& head, const std::vector<Cells>& rows, const char* kind = "numbers") {
  std::string html =
      fmt::format("<div class=\"scroll\" tabindex=\"0\"><table class=\"{}\"><thead><tr>", kind);
  for (const std::string& cell : head) html += "<th scope=\"col\">" + escape_html(cell) + "</th>";
  html += "</tr></thead><tbody>\n";
  for (const Cells& row : rows) {
    html += "<tr><th scope=\"row\">" + escape_html(row.front()) + "</th>";
    for (std::size_t i = 1; i < row.size(); ++i) html += "<td>" + escape_html(row[i]) + "</td>";
    html += "</tr>\n";
  }
  return html + "</tbody></table></div>\n";
}

std::string chart(const char* name, const char* title) {
  return fmt::format("<figure data-chart=\"{}\"><figcaption>{}</figcaption></figure>\n", name,
                     title);
}

std::string numbers(const std::string& summary, const std::string& content) {
  return "<details><summary>" + escape_html(summary) + "</summary>" + content + "</details>\n";
}

std::string last_loss(const RunDigest& run) {
  const auto& bins = run.steps.bins();
  if (bins.empty() || bins.back().losses == 0) return "–";
  return fmt::format("{:.4f}", bins.back().loss_sum / static_cast<double>(bins.back().losses));
}

double peak_rss(const RunDigest& run) {
  double peak = 0;
  for (const WorkerDigest& worker : run.workers) peak = std::max(peak, worker.peak_rss_bytes);
  for (const EpochDigest& epoch : run.epochs)
    peak = std::max(peak, epoch.peak_rss_bytes.value_or(0));
  return peak;
}

std::string or_dash(const std::string& text) { return text.empty() ? "–" : text; }

constexpr std::array kStages{"sample_s", "load_s",      "compute_s",
                             "comm_s",   "plan_wait_s", "prepare_wait_s"};

/// Name and text.
using Field = std::pair<std::string, std::string>;

std::vector<Field> summary_of(const RunDigest& run) {
  const StepBin total = run.steps.total();
  const auto steps = static_cast<double>(total.steps);
  const double busy = figure(total, "step_s");
  const std::string of =
      run.total_steps > 0 ? " of " + whole(static_cast<double>(run.total_steps)) : "";
  return {{"state", run.state + (run.reason.empty() ? "" : " (" + run.reason + ")")},
          {"dataset", or_dash(run.dataset)},
          {"model", or_dash(run.setting("model"))},
          {"mode", or_dash(run.setting("mode"))},
          {"workers", std::to_string(run.world)},
          {"steps", whole(steps) + of},
          {"time", seconds(run.elapsed_s)},
          {"a step", steps > 0 ? seconds(busy / steps) : "–"},
          {"seeds/s", busy > 0 ? whole(figure(total, "seeds") / busy) : "–"},
          {"last loss", last_loss(run)},
          {"best valid", percent(run.best_valid)},
          {"test", percent(run.test)},
          {"peak RSS", bytes(peak_rss(run))}};
}

/// Names and texts side by side, in as many columns as there is room for.
std::string field_list(const std::vector<Field>& fields, const char* kind) {
  std::string html = fmt::format("<dl class=\"{}\">\n", kind);
  for (const auto& [name, value] : fields) {
    html += "<div><dt>" + escape_html(name) + "</dt><dd>" + escape_html(value) + "</dd></div>\n";
  }
  return html + "</dl>\n";
}

/// Whether nothing but the seed tells them apart.
bool same_but_for_the_seed(const RunDigest& one, const RunDigest& other) {
  const auto without_seed = [](auto config) {
    std::erase_if(config, [](const auto& entry) { return entry.first == "seed"; });
    return config;
  };
  return without_seed(one.config) == without_seed(other.config);
}

/// Mean and standard deviation of what runs with several seeds reach.
std::string spread(const std::vector<RunDigest>& runs) {
  for (const RunDigest& run : runs) {
    if (!same_but_for_the_seed(run, runs.front())) return "";
  }
  std::vector<double> values;
  for (const RunDigest& run : runs) {
    if (run.test) values.push_back(*run.test);
  }
  if (values.size() < 2) return "";
  double mean = 0, squares = 0;
  for (const double value : values) mean += value / static_cast<double>(values.size());
  for (const double value : values) squares += (value - mean) * (value - mean);
  return fmt::format("<p>Test {} over {} runs: {:.2f} % mean, {:.2f} % standard deviation.</p>\n",
                     escape_html(runs.front().metric), values.size(), 100 * mean,
                     100 * std::sqrt(squares / static_cast<double>(values.size() - 1)));
}

std::string summary_table(const std::vector<RunDigest>& runs) {
  Cells head{"run"};
  for (const Field& field : summary_of(runs.front())) head.push_back(field.first);
  std::vector<Cells> rows;
  for (const RunDigest& run : runs) {
    Cells row{run.name};
    for (Field& field : summary_of(run)) row.push_back(std::move(field.second));
    rows.push_back(std::move(row));
  }
  return table(head, rows);
}

std::string summary(const std::vector<RunDigest>& runs) {
  const bool one = runs.size() == 1;
  return std::string("<section id=\"runs\"><h2>") + (one ? "Run" : "Runs") + "</h2>\n" +
         (one ? field_list(summary_of(runs.front()), "tiles") : summary_table(runs)) +
         spread(runs) + "</section>\n";
}

std::string epochs_table(const RunDigest& run) {
  std::vector<Cells> rows;
  constexpr std::size_t kMost = 200;
  const std::size_t first = run.epochs.size() > kMost ? run.epochs.size() - kMost : 0;
  for (std::size_t i = first; i < run.epochs.size(); ++i) {
    const EpochDigest& epoch = run.epochs[i];
    rows.push_back({std::to_string(epoch.epoch), std::to_string(epoch.step),
                    epoch.loss ? fmt::format("{:.4f}", *epoch.loss) : "–",
                    percent(epoch.train_accuracy), percent(epoch.valid_accuracy),
                    epoch.seconds ? seconds(*epoch.seconds) : "–",
                    epoch.load_imbalance ? fmt::format("{:.3f}", *epoch.load_imbalance) : "–",
                    epoch.peak_rss_bytes ? bytes(*epoch.peak_rss_bytes) : "–"});
  }
  return table(
      {"epoch", "last step", "loss", "train", "valid", "time", "edges max / mean", "peak RSS"},
      rows);
}

std::string curves(const std::vector<RunDigest>& runs) {
  std::string html =
      "<section id=\"curves\"><h2>Loss and accuracy</h2>\n<div class=\"controls\">"
      "<label>x axis <select id=\"axis\"><option value=\"step\">step</option>"
      "<option value=\"elapsed\">seconds</option></select></label> "
      "<label><input type=\"checkbox\" id=\"log\"> logarithmic loss</label></div>\n<div "
      "class=\"charts\">";
  html += chart("loss", "Loss of the global batch") +
          chart("accuracy", "Accuracy after each epoch") + "</div>\n";
  for (const RunDigest& run : runs) html += numbers("Epochs of " + run.name, epochs_table(run));
  return html + "</section>\n";
}

std::string stages(const std::vector<RunDigest>& runs) {
  std::vector<Cells> rows;
  for (const RunDigest& run : runs) {
    const StepBin total = run.steps.total();
    const double clock = figure(total, "step_s"), steps = static_cast<double>(total.steps);
    Cells row{run.name, seconds(share(clock, steps))};
    for (const char* stage : kStages) {
      const double time = figure(total, stage);
      row.push_back(
          fmt::format("{} ({:.0f} %)", seconds(share(time, steps)), 100 * share(time, clock)));
    }
    rows.push_back(std::move(row));
  }
  return "<section id=\"stages\"><h2>Where a step's time goes</h2>\n"
         "<p>Means over steps of the slowest worker's time in each stage; communication inside "
         "sampling counts as sampling.</p>\n"
         "<div class=\"charts\">" +
         chart("stages", "Mean step") + chart("stages-over-time", "Over the run") +
         chart("throughput", "Seeds a second") + "</div>\n" +
         table({"run", "a step", "sample", "load", "compute", "communicate", "wait for plan",
                "wait for sample"},
               rows) +
         "</section>\n";
}

double max_over_mean(const RunDigest& run, double WorkerDigest::*figure) {
  double most = 0, sum = 0;
  for (const WorkerDigest& worker : run.workers) {
    most = std::max(most, worker.*figure);
    sum += worker.*figure;
  }
  return share(most * static_cast<double>(run.workers.size()), sum);
}

std::string workers_table(const RunDigest& run) {
  std::vector<Cells> rows;
  const auto steps = static_cast<double>(run.worker_steps);
  for (std::size_t p = 0; p < run.workers.size(); ++p) {
    const WorkerDigest& worker = run.workers[p];
    rows.push_back({std::to_string(p), whole(share(worker.seeds, steps)),
                    whole(share(worker.edges, steps)), whole(share(worker.input_rows, steps)),
                    bytes(share(worker.shuffle_bytes, steps)),
                    seconds(share(worker.sample_s, steps)), seconds(share(worker.load_s, steps)),
                    seconds(share(worker.compute_s, steps)), seconds(share(worker.comm_s, steps)),
                    bytes(worker.peak_rss_bytes), bytes(worker.device_bytes)});
  }
  const auto balance = [&](double WorkerDigest::*figure) {
    return fmt::format("{:.3f}", max_over_mean(run, figure));
  };
  rows.push_back({"max / mean", balance(&WorkerDigest::seeds), balance(&WorkerDigest::edges),
                  balance(&WorkerDigest::input_rows), balance(&WorkerDigest::shuffle_bytes),
                  balance(&WorkerDigest::sample_s), balance(&WorkerDigest::load_s),
                  balance(&WorkerDigest::compute_s), balance(&WorkerDigest::comm_s),
                  balance(&WorkerDigest::peak_rss_bytes), balance(&WorkerDigest::device_bytes)});
  Cells head{"worker", "seeds",   "edges",       "input rows", "sent",      "sample",
             "load",   "compute", "communicate", "peak RSS",   "GPU memory"};
  const bool on_gpus = std::any_of(run.workers.begin(), run.workers.end(),
                                   [](const auto& worker) { return worker.device_bytes > 0; });
  if (!on_gpus) {
    head.pop_back();
    for (Cells& row : rows) row.pop_back();
  }
  return table(head, rows);
}

std::string balance(const std::vector<RunDigest>& runs) {
  std::string html =
      "<section id=\"balance\"><h2>Load balance</h2>\n<p>Means a step of each worker.</p>\n<div "
      "class=\"charts\">" +
      chart("worker-loads", "Load of each worker, as a share of the mean") +
      chart("worker-times", "Time of each worker") + "</div>\n";
  for (const RunDigest& run : runs) html += numbers("Workers of " + run.name, workers_table(run));
  return html + "</section>\n";
}

std::string layers_table(const RunDigest& run) {
  std::vector<Cells> rows;
  for (std::size_t l = 0; l < run.layers.size(); ++l) {
    for (const auto& [route, digest] : run.layers[l]) {
      const auto steps = static_cast<double>(digest.steps);
      rows.push_back({std::to_string(l + 1), route, std::to_string(digest.steps),
                      bytes(share(digest.bytes, steps)), bytes(share(digest.bytes_pull, steps)),
                      bytes(digest.bytes)});
    }
  }
  return table({"layer", "route", "steps", "bytes a step", "plain pull", "in all"}, rows);
}

std::string shuffle(const std::vector<RunDigest>& runs) {
  std::string html =
      "<section id=\"shuffle\"><h2>Bytes between workers</h2>\n<p>Layer 1 reads the input "
      "features. "
      "The mark is what pulling plain fp32 rows would have sent.</p>\n<div class=\"charts\">" +
      chart("layers", "Shuffle a step, by layer and route") + chart("traffic", "Over the run") +
      "</div>\n";
  for (const RunDigest& run : runs) html += numbers("Layers of " + run.name, layers_table(run));
  return html + "</section>\n";
}

std::string rows_section(const std::vector<RunDigest>& runs) {
  std::vector<Cells> rows;
  for (const RunDigest& run : runs) {
    const StepBin total = run.steps.total();
    const double all = figure(total, "input_rows"), steps = static_cast<double>(total.steps);
    Cells row{run.name, whole(share(all, steps))};
    for (const char* place : {"rows_cache", "rows_remote", "rows_disk"}) {
      row.push_back(fmt::format("{:.1f} %", 100 * share(figure(total, place), all)));
    }
    row.push_back(whole(share(figure(total, "rows_copied"), steps)));
    rows.push_back(std::move(row));
  }
  return "<section id=\"rows\"><h2>Where input rows come from</h2>\n<div class=\"charts\">" +
         chart("rows", "Input rows a step") + "</div>\n" +
         table(
             {"run", "rows a step", "own cache", "another worker's cache", "shard", "copies read"},
             rows) +
         "</section>\n";
}

std::string memory() {
  return "<section id=\"memory\"><h2>Memory</h2>\n<p>Peak resident memory of a worker's process; "
         "workers that are threads of one "
         "process share it.</p>\n<div class=\"charts\">" +
         chart("memory", "Peak of each worker") +
         chart("memory-over-time", "Peak of the largest worker, by epoch") + "</div></section>\n";
}

std::string configuration(const std::vector<RunDigest>& runs) {
  Cells names, head{"flag"};
  std::set<std::string> seen;
  for (const RunDigest& run : runs) {
    head.push_back(run.name);
    for (const auto& [name, value] : run.config) {
      if (seen.insert(name).second) names.push_back(name);
    }
  }
  std::vector<Cells> same, different;
  for (const std::string& name : names) {
    Cells row{name};
    for (const RunDigest& run : runs) row.push_back(or_dash(run.setting(name)));
    const bool alike =
        std::all_of(row.begin() + 1, row.end(), [&](const auto& cell) { return cell == row[1]; });
    (alike ? same : different).push_back(std::move(row));
  }
  std::string html = "<section id=\"configuration\"><h2>Configuration</h2>\n";
  if (runs.size() == 1) {
    return html + field_list(runs.front().config, "flags") + "</section>\n";
  }
  html += different.empty()
              ? std::string("<p>All flags are the same.</p>\n")
              : "<h3>What differs</h3>\n" + table(head, different, "settings differing");
  for (Cells& row : same) row.resize(2);
  return html +
         numbers(fmt::format("What is the same ({})", same.size()),
                 table({"flag", "all runs"}, same, "settings")) +
         "</section>\n";
}

std::string history(const std::vector<RunDigest>& runs) {
  std::vector<Cells> rows;
  for (const RunDigest& run : runs) {
    std::string resumed, again;
    for (const std::uint64_t step : run.resumed_after)
      resumed += (resumed.empty() ? "" : ", ") + std::to_string(step);
    std::uint64_t repeated = 0;
    for (const SetAside& file : run.set_aside) repeated += file.steps;
    rows.push_back({run.name, run.path, or_dash(run.version), or_dash(run.device),
                    whole(static_cast<double>(run.parameters)), std::to_string(run.checkpoints),
                    run.checkpoints > 0 ? std::to_string(run.last_checkpoint_step) : "–",
                    or_dash(resumed), std::to_string(repeated),
                    std::to_string(run.unreadable_lines), date(run.start_time),
                    date(run.end_time)});
  }
  return "<section id=\"history\"><h2>Checkpoints and resumes</h2>\n" +
         table({"run", "directory", "gsplit", "device", "parameters", "checkpoints",
                "latest after step", "resumed after step", "steps done again", "unreadable lines",
                "begun", "last event"},
               rows, "settings") +
         "</section>\n";
}

}  // namespace

std::string escape_html(const std::string& text) {
  std::string safe;
  for (const char c : valid_utf8(text)) {
    switch (c) {
      case '<':
        safe += "&lt;";
        break;
      case '>':
        safe += "&gt;";
        break;
      case '&':
        safe += "&amp;";
        break;
      case '"':
        safe += "&quot;";
        break;
      case '\'':
        safe += "&#39;";
        break;
      default:
        // Controls mean nothing in HTML, and U+0000 is an error there.
        safe += static_cast<unsigned char>(c) < 0x20 || c == 0x7f ? ' ' : c;
    }
  }
  return safe;
}

std::string make_page(const std::vector<RunDigest>& runs) {
  GSPLIT_CHECK(!runs.empty());
  const std::string title =
      runs.size() == 1 ? runs.front().name : fmt::format("{} runs", runs.size());
  std::string html =
      "<!DOCTYPE html>\n<html lang=\"en\"><head><meta charset=\"utf-8\">\n"
      "<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n"
      "<meta name=\"color-scheme\" content=\"light dark\">\n"
      // Nothing is loaded from anywhere, whatever stands in the data.
      "<meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src "
      "'unsafe-inline'; "
      "script-src 'unsafe-inline'; img-src data:; base-uri 'none'; form-action 'none'\">\n"
      "<link rel=\"icon\" href=\"data:,\">\n<title>gsplit: " +
      escape_html(title) + "</title>\n<style>\n" + kReportStyle +
      "</style></head>\n<body>\n<header><h1>gsplit report</h1><p>" + escape_html(title) +
      "</p></header>\n<main>\n";
  html +=
      "<noscript><p class=\"note\">The charts need JavaScript, which is off; the tables hold the "
      "numbers.</p></noscript>\n";
  html += summary(runs) + curves(runs);
  if (runs.size() > 1) {
    html += "<div class=\"controls\" id=\"of\"><label>Details below of <select id=\"run\">";
    for (std::size_t i = 0; i < runs.size(); ++i) {
      html += fmt::format("<option value=\"{}\">{}</option>", i, escape_html(runs[i].name));
    }
    html += "</select></label></div>\n";
  }
  html += stages(runs) + balance(runs) + shuffle(runs) + rows_section(runs) + memory() +
          configuration(runs) + history(runs);
  html += "</main>\n<footer>Made by gsplit " GSPLIT_VERSION
          "</footer>\n<script type=\"application/json\" id=\"data\">" +
          script_data(to_json(runs)) + "</script>\n<script>\n" + kReportScript +
          "</script>\n</body></html>\n";
  return html;
}

}  // namespace gsplit
