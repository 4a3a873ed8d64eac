// RUN_DIR: config.yaml, events.jsonl and the checkpoints of one run. Written by rank 0 alone, and
// by one run at a time.
#pragma once

#include <cstdint>
#include <filesystem>
#include <fstream>
#include <nlohmann/json_fwd.hpp>
#include <string>

namespace gsplit {

class RunDirectory {
 public:
  /// Only remembers the path.
  explicit RunDirectory(std::filesystem::path path) : path_(std::move(path)) {}
  ~RunDirectory();
  RunDirectory(const RunDirectory&) = delete;
  RunDirectory& operator=(const RunDirectory&) = delete;

  const std::filesystem::path& path() const { return path_; }
  std::filesystem::path checkpoints() const { return path_ / "checkpoints"; }
  bool holds_run() const;

  /// Keeps other runs out until this object ends. Waits a few seconds for one that is about to
  /// end. Throws SystemError where another run writes here, or nothing can be written. Once locked,
  /// does nothing.
  void lock();

  /// Makes the directory and begins a new run: what an earlier one left is removed. Locks it.
  /// Throws UsageError where it cannot be made.
  void start_anew();
  /// The same, but the events of the earlier run are kept as events.N.jsonl.
  void start_again();
  /// Goes on after `step`: what comes after it in events.jsonl moves to events.N.jsonl, and later
  /// checkpoints are set aside as damaged-step-M. REQUIRES: locked.
  void continue_after(std::uint64_t step);

  void write_config(const std::string& yaml);
  /// Appends one line {"event": name, "time": now, ...fields} to events.jsonl and flushes it.
  /// Throws SystemError. REQUIRES: one of the three above was called.
  void event(const std::string& name, const nlohmann::ordered_json& fields);
  /// Brings all events so far to the disk.
  void flush_events();

 private:
  void make();
  void open_events();
  void set_events_aside(std::uint64_t after_step);
  void clear_unfinished_checkpoints();

  std::filesystem::path path_;
  std::ofstream events_;
  int lock_ = -1;
};

/// UsageError when `path` holds a run that may be neither replaced nor continued; touches nothing.
void check_run_directory(const std::filesystem::path& path, bool overwrite, bool resume);

}  // namespace gsplit
