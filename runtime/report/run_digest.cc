#include "runtime/report/run_digest.h"

#include <fcntl.h>
#include <sys/file.h>
#include <unistd.h>

#include <algorithm>
#include <charconv>
#include <cmath>
#include <fstream>
#include <limits>
#include <nlohmann/json.hpp>

#include "graph/json_input.h"
#include "kernels/base/error.h"

namespace gsplit {
namespace {

namespace fs = std::filesystem;
using Json = nlohmann::json;

// Bounds on what a file may make us keep.
constexpr std::size_t kMostWorkers = 4096;
constexpr std::size_t kMostLayers = 64;
constexpr std::size_t kMostRoutes = 8;
constexpr std::size_t kMostEpochs = 1 << 20;
constexpr std::size_t kMostResumes = 1000;
constexpr std::size_t kLongestText = 400;

std::optional<double> number(const Json& object, const char* key) {
  const auto entry = object.find(key);
  if (entry == object.end() || !entry->is_number()) return std::nullopt;
  const double value = entry->get<double>();
  return std::isfinite(value) ? std::optional(value) : std::nullopt;
}

std::uint64_t count(const Json& object, const char* key, std::uint64_t otherwise = 0) {
  const auto entry = object.find(key);
  if (entry == object.end()) return otherwise;
  return whole_number<std::uint64_t>(*entry).value_or(otherwise);
}

std::string text(const Json& object, const char* key, const std::string& otherwise = "") {
  return text_or(object, key, otherwise).substr(0, kLongestText);
}

/// Of a flat YAML map as a run writes it, one entry a line: what it says, whatever that is.
std::vector<std::pair<std::string, std::string>> settings_in(const std::string& yaml) {
  std::vector<std::pair<std::string, std::string>> settings;
  for (std::size_t begin = 0; begin < yaml.size() && settings.size() < 1000;) {
    const std::size_t end = std::min(yaml.find('\n', begin), yaml.size());
    const std::string line = yaml.substr(begin, end - begin);
    begin = end + 1;
    const std::size_t colon = line.find(": ");
    if (colon == std::string::npos || line.front() == ' ' || line.front() == '#') continue;
    std::string value = line.substr(colon + 2, kLongestText);
    const bool quoted = value.size() > 1 && value.front() == '"' && value.back() == '"';
    if (quoted) value = value.substr(1, value.size() - 2);
    settings.emplace_back(line.substr(0, colon), value);
  }
  return settings;
}

/// Whether a run has locked the directory: it goes on, or is about to end.
bool is_locked(const fs::path& directory) {
  const int file = ::open((directory / ".lock").c_str(), O_RDONLY | O_CLOEXEC);
  if (file < 0) return false;
  const bool busy = ::flock(file, LOCK_SH | LOCK_NB) != 0;
  ::close(file);
  return busy;
}

class Reader {
 public:
  explicit Reader(RunDigest& run) : run_(run) {}

  void line(const std::string& line, bool last) {
    const auto event = parse_json<Json>(line);
    if (!event.is_object()) {
      // Whoever writes may not have come to its end.
      if (!last) ++run_.unreadable_lines;
      return;
    }
    const std::string name = text(event, "event");
    advance_clock(event, name);
    if (name == "run_start" || name == "resume") begin(event, name);
    if (name == "step") step(event);
    if (name == "epoch") epoch(event);
    if (name == "checkpoint") checkpoint(event);
    if (name == "run_end") end(event);
  }

 private:
  /// A resume takes up the run's clock where it had stopped.
  void advance_clock(const Json& event, const std::string& name) {
    const std::optional<double> time = number(event, "time");
    if (!time) return;
    if (!run_.start_time) run_.start_time = time;
    passed_s_ = run_.end_time && name != "resume" ? std::max(0.0, *time - *run_.end_time) : 0;
    run_.elapsed_s += passed_s_;
    run_.end_time = time;
  }

  void begin(const Json& event, const std::string& name) {
    run_.state.clear();
    run_.dataset = text(event, "dataset", run_.dataset);
    run_.device = text(event, "device", run_.device);
    run_.metric = text(event, "metric", run_.metric);
    run_.coordinator = text(event, "coordinator");
    run_.world = count(event, "world", run_.world);
    run_.total_steps = count(event, "total_steps", run_.total_steps);
    run_.parameters = count(event, "parameters", run_.parameters);
    const auto versions = event.find("versions");
    if (versions != event.end() && versions->is_object()) {
      run_.version = text(*versions, "gsplit", run_.version);
    }
    const std::string config = text_or(event, "config", "");
    if (!config.empty()) run_.config = settings_in(config);
    if (name == "resume" && run_.resumed_after.size() < kMostResumes) {
      run_.resumed_after.push_back(count(event, "step"));
    }
  }

  void step(const Json& event) {
    StepRecord record{
        .step = count(event, "step", last_step_ + 1),
        .elapsed_s = run_.elapsed_s,
        .loss = number(event, "loss").value_or(std::numeric_limits<double>::quiet_NaN())};
    for (std::size_t i = 0; i < kStepFields.size(); ++i) {
      record.figures[i] = number(event, kStepFields[i]).value_or(0);
    }
    // An epoch's evaluation and a checkpoint end with events of their own.
    record.figures[kStepSeconds] = passed_s_;
    last_step_ = record.step;
    run_.steps.add(record);
    if (const auto layers = event.find("shuffle_layers"); layers != event.end())
      add_layers(*layers);
    if (const auto workers = event.find("workers"); workers != event.end()) add_workers(*workers);
  }

  void add_layers(const Json& layers) {
    if (!layers.is_array()) return;
    const std::size_t known = std::min(layers.size(), kMostLayers);
    if (run_.layers.size() < known) run_.layers.resize(known);
    for (std::size_t l = 0; l < known; ++l) {
      if (!layers[l].is_object()) continue;
      auto& routes = run_.layers[l];
      const std::string route = text(layers[l], "route", "unknown");
      if (routes.size() >= kMostRoutes && !routes.contains(route)) continue;
      RouteDigest& digest = routes[route];
      ++digest.steps;
      digest.bytes += number(layers[l], "bytes").value_or(0);
      digest.bytes_pull += number(layers[l], "bytes_pull").value_or(0);
    }
  }

  /// After a resume with another number of workers those of before are left out.
  void add_workers(const Json& workers) {
    if (!workers.is_object()) return;
    const auto edges = workers.find("edges");
    if (edges == workers.end() || !edges->is_array() || edges->size() > kMostWorkers) return;
    if (edges->size() != run_.workers.size()) {
      run_.workers.assign(edges->size(), {});
      run_.worker_steps = 0;
    }
    run_.worker_steps += count(workers, "steps", 1);
    add_list(workers, "seeds", &WorkerDigest::seeds);
    add_list(workers, "edges", &WorkerDigest::edges);
    add_list(workers, "input_rows", &WorkerDigest::input_rows);
    add_list(workers, "shuffle_bytes", &WorkerDigest::shuffle_bytes);
    add_list(workers, "sample_s", &WorkerDigest::sample_s);
    add_list(workers, "load_s", &WorkerDigest::load_s);
    add_list(workers, "compute_s", &WorkerDigest::compute_s);
    add_list(workers, "comm_s", &WorkerDigest::comm_s);
    note_largest(workers, "peak_rss_bytes", &WorkerDigest::peak_rss_bytes);
    note_largest(workers, "device_bytes", &WorkerDigest::device_bytes);
  }

  void note_largest(const Json& workers, const char* key, double WorkerDigest::*largest) {
    const auto list = workers.find(key);
    if (list == workers.end() || !list->is_array()) return;
    for (std::size_t p = 0; p < std::min(list->size(), run_.workers.size()); ++p) {
      if (!(*list)[p].is_number()) continue;
      double& most = run_.workers[p].*largest;
      most = std::max(most, (*list)[p].get<double>());
    }
  }

  void add_list(const Json& workers, const char* key, double WorkerDigest::*sum) {
    const auto list = workers.find(key);
    if (list == workers.end() || !list->is_array()) return;
    for (std::size_t p = 0; p < std::min(list->size(), run_.workers.size()); ++p) {
      if ((*list)[p].is_number()) run_.workers[p].*sum += (*list)[p].get<double>();
    }
  }

  void epoch(const Json& event) {
    if (run_.epochs.size() >= kMostEpochs) return;
    run_.epochs.push_back({.epoch = count(event, "epoch"),
                           .step = last_step_,
                           .elapsed_s = run_.elapsed_s,
                           .loss = number(event, "loss"),
                           .train_accuracy = number(event, "train_acc"),
                           .valid_accuracy = number(event, "valid_acc"),
                           .seconds = number(event, "seconds"),
                           .load_imbalance = number(event, "load_imbalance"),
                           .peak_rss_bytes = number(event, "peak_rss_bytes")});
  }

  void checkpoint(const Json& event) {
    if (text(event, "path") == "checkpoints/final") return;
    ++run_.checkpoints;
    run_.last_checkpoint_step = count(event, "step");
  }

  void end(const Json& event) {
    run_.state = text(event, "status", "done");
    run_.reason = text(event, "reason");
    run_.best_valid = number(event, "best_valid_acc");
    run_.test = number(event, "test_acc");
  }

  RunDigest& run_;
  std::uint64_t last_step_ = 0;
  double passed_s_ = 0;  // since the event before
};

void read_lines(const fs::path& file, const auto& take) {
  std::ifstream in(file, std::ios::binary);
  if (!in) throw UsageError(file.string() + " cannot be read", "is it a run directory?");
  for (std::string line; std::getline(in, line);) {
    if (!line.empty()) take(line, in.eof());
  }
}

std::optional<SetAside> read_set_aside(const fs::path& file) {
  std::error_code unreadable;
  if (!fs::is_regular_file(file, unreadable)) return std::nullopt;
  SetAside found{.file = file.filename().string()};
  read_lines(file, [&](const std::string& line, bool) {
    const auto event = parse_json<Json>(line);
    if (!event.is_object() || text(event, "event") != "step") return;
    const std::uint64_t step = count(event, "step");
    if (found.steps++ == 0) found.first_step = step;
    found.last_step = step;
  });
  return found;
}

/// The last part, and the one before for a seed's.
std::string name_of_run(const fs::path& directory) {
  std::error_code error;
  fs::path path = fs::weakly_canonical(directory, error);
  if (error) path = directory;
  const std::string last = path.filename().string();
  const bool seed = last.starts_with("seed-") && path.has_parent_path();
  return seed ? (path.parent_path().filename() / last).string() : last;
}

bool holds_run(const fs::path& directory) {
  std::error_code unreadable;
  return fs::is_regular_file(directory / "events.jsonl", unreadable);
}

/// K of seed-K.
std::optional<std::uint64_t> seed_of(const fs::path& directory) {
  const std::string name = directory.filename().string();
  constexpr std::string_view prefix = "seed-";
  std::uint64_t seed = 0;
  if (!name.starts_with(prefix)) return std::nullopt;
  const char* const end = name.data() + name.size();
  const auto parsed = std::from_chars(name.data() + prefix.size(), end, seed);
  return parsed.ec == std::errc() && parsed.ptr == end ? std::optional(seed) : std::nullopt;
}

}  // namespace

std::string RunDigest::setting(const std::string& name) const {
  const auto found = std::find_if(config.begin(), config.end(),
                                  [&](const auto& entry) { return entry.first == name; });
  return found == config.end() ? "" : found->second;
}

RunDigest digest_run(const fs::path& directory) {
  RunDigest run{.name = name_of_run(directory), .path = directory.string()};
  // Before its events are read: a run that ends meanwhile has written all of them.
  const bool writing = is_locked(directory);
  Reader reader(run);
  read_lines(directory / "events.jsonl",
             [&](const std::string& line, bool last) { reader.line(line, last); });
  if (run.state.empty()) run.state = writing ? "running" : "failed";
  for (std::size_t n = 1; n <= kMostResumes; ++n) {
    auto found = read_set_aside(directory / ("events." + std::to_string(n) + ".jsonl"));
    if (!found) break;
    run.set_aside.push_back(std::move(*found));
  }
  return run;
}

void tell_apart(std::vector<RunDigest>& runs) {
  std::map<std::string, int> names, taken;
  for (const RunDigest& run : runs) ++names[run.name];
  for (RunDigest& run : runs) {
    if (names[run.name] > 1) run.name = run.path;
    const int number = ++taken[run.name];
    if (number > 1) run.name += " (" + std::to_string(number) + ")";
  }
}

std::vector<fs::path> runs_in(const fs::path& given) {
  if (holds_run(given)) return {given};
  std::vector<std::pair<std::uint64_t, fs::path>> seeds;
  std::error_code error;
  for (const fs::directory_entry& entry : fs::directory_iterator(given, error)) {
    const auto seed = seed_of(entry.path());
    if (seed && holds_run(entry.path())) seeds.emplace_back(*seed, entry.path());
  }
  if (seeds.empty()) {
    throw UsageError(given.string() + " holds no run: there is no events.jsonl",
                     "name the --run-dir of gsplit train");
  }
  std::sort(seeds.begin(), seeds.end());
  std::vector<fs::path> runs;
  for (auto& seed : seeds) runs.push_back(std::move(seed.second));
  return runs;
}

}  // namespace gsplit
