#include "graph/import/import_job.h"

#include <fmt/format.h>

#include <algorithm>

#include "graph/import/edge_writer.h"
#include "graph/import/output_file.h"
#include "graph/import/progress.h"

namespace gsplit {
namespace {

/// Of a file or directory, also where its path ends with a slash.
std::string name_of(const std::filesystem::path& input) {
  const std::filesystem::path path = std::filesystem::absolute(input).lexically_normal();
  return (path.has_filename() ? path : path.parent_path()).stem().string();
}

constexpr std::uint64_t kBytesOnDisk = 12;  // 4 a node id, and the destinations once more
constexpr std::uint64_t kBytesSorted = 16;  // spilled; in memory twice
constexpr std::uint64_t kSparsest = 100;    // ids for each edge
constexpr std::uint64_t kSmallGraph = std::uint64_t{1} << 20;

void log_totals(const Log& log, const EdgeTotals& totals, double seconds) {
  std::string line = fmt::format("{} edges read, {} written in {:.1f} s, {:.1f} M edges/s",
                                 totals.read, totals.written, seconds,
                                 static_cast<double>(totals.read) / std::max(seconds, 1e-9) / 1e6);
  if (totals.dropped_self_loops > 0) {
    line += fmt::format(", {} self-loops dropped", totals.dropped_self_loops);
  }
  if (totals.dropped_duplicates > 0) {
    line += fmt::format(", {} duplicates dropped", totals.dropped_duplicates);
  }
  if (totals.spilled_bytes > 0) line += ", " + bytes_text(totals.spilled_bytes) + " spilled";
  log.info(line);
}

void require_plausible(std::uint64_t num_nodes, std::uint64_t edges,
                       const std::filesystem::path& input) {
  if (num_nodes <= std::max(kSmallGraph, kSparsest * edges)) return;
  throw UsageError(
      fmt::format("{} has {} edges with node ids up to {}", input.string(), edges, num_nodes - 1),
      "number the nodes from 0 without gaps, or give --nodes");
}

}  // namespace

std::string bytes_text(std::uint64_t bytes) {
  const char* const units[] = {"B", "kB", "MB", "GB", "TB", "PB", "EB"};
  auto value = static_cast<double>(bytes);
  int unit = 0;
  for (; value >= 1000; value /= 1000) ++unit;
  return fmt::format("{:.{}f} {}", value, unit == 0 ? 0 : 1, units[unit]);
}

ImportJob::ImportJob(const ImportOptions& options, const StagedDirectory& staged, const Log& log)
    : options_(options),
      log_(log),
      directory_(staged.path()),
      scratch_(staged.path() / ".scratch") {
  arrays_.name = name_of(options.input);
}

void ImportJob::announce_files(const std::string& what, std::uint64_t bytes) const {
  const std::uint64_t free = free_disk_bytes(directory_);
  log_.info(fmt::format("{}: {} of disk of {} free", what, bytes_text(bytes), bytes_text(free)));
  if (bytes > free) {
    throw SystemError(fmt::format("{} need {} of disk in {}, {} are free", what, bytes_text(bytes),
                                  directory_.parent_path().string(), bytes_text(free)),
                      "free some space or write elsewhere");
  }
}

void ImportJob::announce_edges(std::uint64_t edges, bool exactly) const {
  // An edge count comes from a file: it may be anything.
  const std::uint64_t rows = std::min(edges, std::uint64_t{1} << 48) * (options_.steps.reverse + 1);
  const std::uint64_t sorted = options_.steps.dedup ? rows * kBytesSorted : 0;
  const std::uint64_t spilled = 2 * sorted > options_.memory ? sorted : 0;
  const std::uint64_t disk = rows * kBytesOnDisk + spilled;
  const std::uint64_t free = free_disk_bytes(directory_);
  log_.info(fmt::format("{} {} edges: {} of disk of {} free, {} of memory of {} allowed",
                        exactly ? "expect" : "expect about", edges, bytes_text(disk),
                        bytes_text(free), bytes_text(std::min(2 * sorted, options_.memory)),
                        bytes_text(options_.memory)));
  if (disk <= free) return;
  const std::string need =
      fmt::format("the edges need {} of disk in {}, {} are free", bytes_text(disk),
                  directory_.parent_path().string(), bytes_text(free));
  if (exactly) throw SystemError(need, "free some space or write elsewhere");
  log_.warning(need + " (estimated)");
}

void ImportJob::import_edges(EdgeReader& reader, std::optional<std::uint64_t> num_nodes) {
  EdgeWriter writer(directory_, scratch_, options_.steps, {options_.memory, options_.threads});
  Progress progress(log_, "edges");
  for (EdgeBatch batch; reader.next(batch);) {
    writer.add(batch);
    progress.report(writer.totals().read, reader.progress());
  }
  if (!num_nodes) require_plausible(writer.id_bound(), writer.totals().read, options_.input);
  arrays_.num_nodes = num_nodes.value_or(writer.id_bound());
  const EdgeTotals totals = writer.finish(arrays_.num_nodes);
  arrays_.edge_weights = totals.weighted;
  log_totals(log_, totals, progress.seconds());
}

void ImportJob::set_splits(const NodeLabels& labels, const std::optional<SplitNodes>& given) {
  if (given && !options_.random_split) return gsplit::set_splits(labels, *given, arrays_, log_);
  if (!options_.random_split) {
    log_.info("no splits in the input: random ones of 0.1,0.05,0.1 of the labelled nodes");
  }
  set_random_splits(labels, options_.random_split.value_or(SplitShares{}), options_.seed,
                    options_.threads, arrays_, log_);
}

}  // namespace gsplit
