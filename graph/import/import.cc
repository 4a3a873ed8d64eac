#include "graph/import/import.h"

#include <fmt/format.h>

#include <charconv>
#include <string_view>

#include "graph/import/import_job.h"

namespace gsplit {
namespace {

constexpr std::uint64_t kLeastMemory = std::uint64_t{1} << 20;

void check_options(const ImportOptions& options) {
  if (options.memory < kLeastMemory) {
    throw UsageError("--memory is " + std::to_string(options.memory) + " bytes",
                     "give at least 1M");
  }
  if (options.format != ImportFormat::kOgb && !options.scheme.empty()) {
    throw UsageError("--split " + options.scheme + " is the name of an OGB split",
                     "give --split random:TRAIN,VALID,TEST");
  }
  std::error_code error;
  if (!std::filesystem::exists(options.input, error)) {
    throw UsageError("there is no " + options.input.string(), "check the path");
  }
}

void run_format(ImportJob& job) {
  switch (job.options().format) {
    case ImportFormat::kGraphBolt:
      return import_graphbolt(job);
    case ImportFormat::kOgb:
      return import_ogb(job);
    case ImportFormat::kEdgeList:
      return import_edge_list(job);
    case ImportFormat::kNpz:
      return import_npz(job);
  }
}

void make_scratch(const std::filesystem::path& path) {
  std::error_code error;
  std::filesystem::create_directory(path, error);
  if (error) throw SystemError("cannot make " + path.string() + ": " + error.message());
}

}  // namespace

void import_dataset(const ImportOptions& options, const std::filesystem::path& directory,
                    const Log& log) {
  check_options(options);
  StagedDirectory staged(directory);
  ImportJob job(options, staged, log);
  make_scratch(job.scratch());
  run_format(job);
  std::filesystem::remove_all(job.scratch());
  write_dataset_metadata(staged.path(), job.arrays());
  staged.commit();
  log.info(fmt::format("wrote {}: {} nodes, {} classes, splits of {}, {} and {} nodes",
                       directory.string(), job.arrays().num_nodes, job.arrays().num_classes,
                       job.arrays().train.nodes.size(), job.arrays().validation.nodes.size(),
                       job.arrays().test.nodes.size()));
}

std::uint64_t parse_bytes(const std::string& text, const std::string& flag) {
  constexpr std::string_view kUnits = "KMGT";
  std::uint64_t value = 0;
  const char* const end = text.data() + text.size();
  const auto [behind, error] = std::from_chars(text.data(), end, value);
  const std::size_t unit = behind == end ? 0 : kUnits.find(*behind) + 1;
  const bool whole = behind == end || (behind + 1 == end && unit > 0);
  if (error != std::errc{} || !whole || value > (~std::uint64_t{0} >> (10 * unit))) {
    throw UsageError(flag + " is '" + text + "'", "give bytes, such as 500M or 8G");
  }
  return value << (10 * unit);
}

}  // namespace gsplit
