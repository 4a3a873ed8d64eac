// What the formats share while one import runs: steps that they call in the order that suits them.
#pragma once

#include <optional>
#include <string>

#include "graph/import/edge_reader.h"
#include "graph/import/import.h"
#include "graph/import/node_labels.h"
#include "graph/staged_directory.h"

namespace gsplit {

/// Borrows; lives as long as the import.
class ImportJob {
 public:
  ImportJob(const ImportOptions& options, const StagedDirectory& staged, const Log& log);

  const ImportOptions& options() const { return options_; }
  const Log& log() const { return log_; }
  /// Where edges.npy and feat.npy go.
  const std::filesystem::path& directory() const { return directory_; }
  /// For files that are gone at the end.
  const std::filesystem::path& scratch() const { return scratch_; }
  DatasetArrays& arrays() { return arrays_; }

  /// Says what the edges will need. Throws SystemError where that is known `exactly` and not there.
  void announce_edges(std::uint64_t edges, bool exactly) const;
  /// The same for `bytes` of other files that are known exactly.
  void announce_files(const std::string& what, std::uint64_t bytes) const;

  /// Writes the edge files. `num_nodes`: where it is known; else it becomes the largest id + 1.
  /// Throws UsageError where ids are so sparse that they cannot be meant. Sets arrays().num_nodes
  /// and edge_weights.
  void import_edges(EdgeReader& reader, std::optional<std::uint64_t> num_nodes);

  /// The splits that --split asks for, else `given`, else random ones of the default shares.
  void set_splits(const NodeLabels& labels, const std::optional<SplitNodes>& given);

 private:
  const ImportOptions& options_;
  const Log& log_;
  std::filesystem::path directory_;
  std::filesystem::path scratch_;
  DatasetArrays arrays_;
};

/// The formats, one file each.
void import_graphbolt(ImportJob& job);
void import_ogb(ImportJob& job);
void import_edge_list(ImportJob& job);
void import_npz(ImportJob& job);

/// "1.5 GB", in powers of 1000.
std::string bytes_text(std::uint64_t bytes);

}  // namespace gsplit
