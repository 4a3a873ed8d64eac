// From the formats in which graphs are published to a dataset of ours.
#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>

#include "graph/import/edge_steps.h"
#include "graph/synthetic_nodes.h"
#include "kernels/base/dtype.h"
#include "kernels/base/log.h"

namespace gsplit {

enum class ImportFormat {
  kGraphBolt,  ///< a directory with metadata.yaml; edges csv or npy, the rest npy
  kOgb,        ///< a directory with raw/ and split/: csv, or binary where raw/data.npz is
  kEdgeList,   ///< a text file, SNAP's
  kNpz         ///< one .npz; the keys are listed in docs/formats.md
};

struct ImportOptions {
  ImportFormat format = ImportFormat::kGraphBolt;
  std::filesystem::path input;
  EdgeSteps steps;
  std::optional<SplitShares> random_split;  ///< replaces the input's splits
  std::string scheme;  ///< OGB: the folder of split/; empty: the only one there is
  /// Bytes for sorting edges, at least 1 MiB; beyond it they are spilled beside the output. The
  /// parsers take some 40 MiB more, labels 4 bytes a node.
  std::uint64_t memory = 0;
  int threads = 1;
  /// For an edge list, which has neither features nor labels: generated as in synthetic_nodes.h,
  /// classes by in-degree.
  std::uint64_t features = 16;
  /// Of the features; nothing: text becomes fp32, arrays stay fp32, fp16 or bf16, else become fp32.
  std::optional<DType> feature_dtype;
  std::uint64_t classes = 8;
  std::uint64_t seed = 0;
  std::uint64_t num_nodes = 0;  ///< of an edge list; 0: largest id + 1
};

/// Writes a dataset to `directory`, which must not exist: made under a name that begins with a dot
/// and renamed when it is whole. The same files for any memory and number of threads. Throws
/// UsageError naming file, line or position and remedy for input that is missing, damaged or
/// inconsistent, SystemError where the disk is full or cannot be written.
void import_dataset(const ImportOptions& options, const std::filesystem::path& directory,
                    const Log& log);

/// Bytes of "4096", "512K", "64M", "8G" or "1T", in powers of 1024. Throws UsageError.
std::uint64_t parse_bytes(const std::string& text, const std::string& flag);

}  // namespace gsplit
