#include "runtime/train/trace_file.h"

#include <fmt/format.h>

#include <algorithm>
#include <exception>
#include <fstream>
#include <iterator>
#include <nlohmann/json.hpp>
#include <utility>

#include "kernels/base/error.h"

namespace gsplit {
namespace {

/// About 60 MB of text; what browsers open without trouble.
constexpr std::uint64_t kMostSpans = 400'000;

/// Perfetto takes a thread's id for its own over all processes, one that is its process's for the
/// main thread, and 0 for none.
std::uint32_t process_of(int rank) { return 1000 * (static_cast<std::uint32_t>(rank) + 1); }

std::string quoted(const std::string& text) {
  return nlohmann::json(text).dump(-1, ' ', true, nlohmann::json::error_handler_t::replace);
}

const char* category_of(const TraceRecord& record) {
  if (record.bytes != TraceRecord::kNoBytes) return "communication";
  return record.layer == TraceRecord::kNoLayer ? "phase" : "layer";
}

std::string name_of(const TraceRecord& record) {
  const auto end = std::find(record.name.begin(), record.name.end(), '\0');
  return {record.name.begin(), end};
}

/// It is no loss when a sudden death of the host takes it, and a disk may be slow.
void write_without_flushing(const std::filesystem::path& file, const std::string& text) {
  std::ofstream out(file, std::ios::binary);
  out << text;
  out.close();
  if (!out) throw SystemError("cannot write " + file.string(), "check free space");
}

double microseconds(std::int64_t nanoseconds) { return static_cast<double>(nanoseconds) / 1e3; }

}  // namespace

TraceFile::TraceFile(std::filesystem::path file, const std::vector<std::string>& hosts,
                     std::int64_t clock_error_ns)
    : file_(std::move(file)), clock_error_ns_(clock_error_ns) {
  for (std::size_t i = 0; i < hosts.size(); ++i) {
    const auto rank = static_cast<int>(i);
    const std::string name = quoted(fmt::format("rank {} on {}", rank, hosts[i]));
    add_fact("process_name", rank, 0, "name", name);
    add_fact("process_sort_index", rank, 0, "sort_index", std::to_string(rank));
  }
}

TraceFile::~TraceFile() {
  try {
    if (spans_ > 0 && written_ < events_.size()) write();
  } catch (const std::exception&) {
    // The run has more important things to say than that its trace is missing.
  }
}

void TraceFile::add_fact(const char* what, int rank, std::uint32_t thread, const char* key,
                         const std::string& json) {
  fmt::format_to(
      std::back_inserter(events_),
      "{}{{\"name\":\"{}\",\"ph\":\"M\",\"ts\":0,\"pid\":{},\"tid\":{},\"args\":{{\"{}\":{}}}}}",
      events_.empty() ? "" : ",\n", what, process_of(rank), process_of(rank) + thread, key, json);
}

void TraceFile::add(int rank, std::int64_t origin_ns, std::span<const TraceRecord> records) {
  for (const TraceRecord& record : records) {
    if (spans_ == kMostSpans) {
      ++left_out_;
      continue;
    }
    ++spans_;
    if (named_threads_.emplace(rank, record.thread).second) {
      const std::string name =
          record.thread == 0 ? "training" : fmt::format("thread {}", record.thread);
      add_fact("thread_name", rank, record.thread, "name", quoted(name));
    }
    auto out = fmt::format_to(
        std::back_inserter(events_),
        ",\n{{\"name\":{},\"cat\":\"{}\",\"ph\":\"X\",\"ts\":{:.3f},\"dur\":{:.3f},\"pid\":{},"
        "\"tid\":{},"
        "\"args\":{{\"step\":{}",
        quoted(name_of(record)), category_of(record), microseconds(record.begin_ns - origin_ns),
        microseconds(record.end_ns - record.begin_ns), process_of(rank),
        process_of(rank) + record.thread, record.step);
    if (record.layer != TraceRecord::kNoLayer) {
      out = fmt::format_to(out, ",\"layer\":{}", record.layer);
    }
    if (record.bytes != TraceRecord::kNoBytes) {
      out = fmt::format_to(out, ",\"bytes\":{}", record.bytes);
    }
    events_ += "}}";
  }
}

void TraceFile::end_step() {
  if (events_.size() >= 2 * written_) write();
}

void TraceFile::write() {
  const std::filesystem::path draft = file_.parent_path() / ("." + file_.filename().string());
  write_without_flushing(
      draft,
      fmt::format(
          "{{\"traceEvents\":[\n{}\n],\n\"displayTimeUnit\":\"ms\",\n"
          "\"otherData\":{{\"gsplit\":\"{}\",\"spans_left_out\":{},\"clock_error_us\":{:.3f}}}}}\n",
          events_, GSPLIT_VERSION, left_out_, microseconds(clock_error_ns_)));
  std::error_code error;
  std::filesystem::rename(draft, file_, error);
  if (error) throw SystemError("cannot write " + file_.string() + ": " + error.message());
  written_ = events_.size();
}

}  // namespace gsplit
