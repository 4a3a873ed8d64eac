#include "runtime/train/run_trace.h"

#include <algorithm>
#include <array>
#include <cstring>
#include <fstream>

#include "runtime/train/clock_offsets.h"
#include "runtime/train/resources.h"

namespace gsplit {
namespace {

struct ClockReading {
  std::int64_t now_ns = 0;
  std::array<char, 40> boot{};  ///< of the host, alike for all of its processes
  std::array<char, 64> host{};
};

template <std::size_t N>
void copy_text(const std::string& text, std::array<char, N>& target) {
  std::copy_n(text.data(), std::min(text.size(), N - 1), target.data());
}

ClockReading read_clock() {
  ClockReading reading;
  std::string boot;
  std::getline(std::ifstream("/proc/sys/kernel/random/boot_id"), boot);
  copy_text(boot, reading.boot);
  copy_text(host_name(), reading.host);
  reading.now_ns = Tracer::now();
  return reading;
}

/// By rank: workers of rank 0's host have its clock.
std::vector<bool> clocks_apart(const std::vector<ClockReading>& readings) {
  std::vector<bool> apart;
  for (const ClockReading& reading : readings) {
    apart.push_back(reading.boot != readings.front().boot);
  }
  return apart;
}

std::vector<TraceRecord> records_in(const std::vector<std::byte>& bytes) {
  std::vector<TraceRecord> records(bytes.size() / sizeof(TraceRecord));
  std::memcpy(records.data(), bytes.data(), records.size() * sizeof(TraceRecord));
  return records;
}

}  // namespace

RunTrace::RunTrace(const TraceSteps& which, StepRange steps, Tracer& tracer,
                   Communicator& communicator, const std::filesystem::path& file, const Log& log)
    : which_(which), steps_(steps), tracer_(tracer), communicator_(communicator), log_(log) {
  if (which.none()) return;
  const std::vector<ClockReading> readings = communicator.all_gather_value(read_clock());
  const std::vector<ClockOffset> offsets =
      clock_offsets(communicator, clocks_apart(readings), Tracer::now);
  std::int64_t error = 0;
  std::vector<std::string> hosts;
  for (std::size_t rank = 0; rank < readings.size(); ++rank) {
    origins_.push_back(readings.front().now_ns - offsets[rank].behind_ns);
    error = std::max(error, offsets[rank].error_ns);
    hosts.emplace_back(readings[rank].host.data());
  }
  if (communicator.rank() == 0) file_ = std::make_unique<TraceFile>(file, hosts, error);
}

void RunTrace::collect() {
  if (!uncollected_) return;
  uncollected_ = false;
  const std::vector<TraceRecord> own = tracer_.take();
  const auto all = communicator_.gather_v(std::as_bytes(std::span(own)), 0);
  if (!file_) return;
  for (std::size_t rank = 0; rank < all.size(); ++rank) {
    file_->add(static_cast<int>(rank), origins_[rank], records_in(all[rank]));
  }
  try {
    file_->end_step();
  } catch (const SystemError& error) {
    give_up(error);
  }
}

void RunTrace::give_up(const SystemError& error) {
  log_.warning(std::string("no trace: ") + error.what());
  file_.reset();
}

void RunTrace::finish() {
  collect();
  if (!file_) return;
  try {
    file_->write();
  } catch (const SystemError& error) {
    return give_up(error);
  }
  if (file_->num_left_out() > 0) {
    log_.warning("trace.json is full: " + std::to_string(file_->num_left_out()) +
                 " spans are left out; name fewer steps with --trace-steps");
  }
}

TracedStep::TracedStep(RunTrace& trace, std::uint64_t step) : trace_(trace) {
  trace.collect();
  if (step > trace.steps_.last || !trace.which_.contains(step, trace.steps_.first)) return;
  trace.uncollected_ = true;
  trace.tracer_.start(step);
}

}  // namespace gsplit
