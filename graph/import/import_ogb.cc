// OGB node property prediction: csv folders (arxiv, products, proteins), and the binary layout of
// papers100M.
#include <algorithm>
#include <utility>
#include <vector>

#include "graph/features.h"
#include "graph/import/array_edges.h"
#include "graph/import/array_nodes.h"
#include "graph/import/csv_table.h"
#include "graph/import/import_job.h"
#include "graph/import/npz_archive.h"
#include "graph/import/text_edges.h"

namespace gsplit {
namespace {

namespace fs = std::filesystem;

/// `name` in `folder`, gzip or plain.
fs::path csv_in(const fs::path& folder, const std::string& name) {
  const fs::path packed = folder / (name + ".csv.gz");
  const fs::path plain = folder / (name + ".csv");
  std::error_code ignored;
  return !fs::exists(packed, ignored) && fs::exists(plain, ignored) ? plain : packed;
}

/// Folders of split/, by name.
std::vector<std::string> schemes_in(const fs::path& folder) {
  std::vector<std::string> names;
  std::error_code error;
  for (const fs::directory_entry& entry : fs::directory_iterator(folder, error)) {
    if (entry.is_directory()) names.push_back(entry.path().filename().string());
  }
  std::sort(names.begin(), names.end());
  return names;
}

std::string joined(const std::vector<std::string>& names) {
  std::string text;
  for (const std::string& name : names) text += (text.empty() ? "" : ", ") + name;
  return text;
}

/// The folder of the splits; empty where there is none and random ones are asked for.
fs::path split_folder(const ImportOptions& options) {
  const fs::path folder = options.input / "split";
  const std::vector<std::string> names = schemes_in(folder);
  if (options.random_split) return {};
  if (!options.scheme.empty()) {
    if (std::find(names.begin(), names.end(), options.scheme) != names.end()) {
      return folder / options.scheme;
    }
    throw UsageError(
        folder.string() + " has no " + options.scheme,
        names.empty() ? "give --split random:TRAIN,VALID,TEST" : "there is " + joined(names));
  }
  if (names.size() == 1) return folder / names.front();
  throw UsageError(
      folder.string() +
          (names.empty() ? " holds no scheme" : " holds several schemes: " + joined(names)),
      names.empty() ? "give --split random:TRAIN,VALID,TEST" : "choose one with --split");
}

std::optional<SplitNodes> read_splits(const fs::path& folder, std::uint64_t num_nodes) {
  if (folder.empty()) return std::nullopt;
  SplitNodes splits;
  splits.train = read_csv_nodes(csv_in(folder, "train"), num_nodes);
  splits.validation = read_csv_nodes(csv_in(folder, "valid"), num_nodes);
  splits.test = read_csv_nodes(csv_in(folder, "test"), num_nodes);
  return splits;
}

void require_edges(const fs::path& path, std::uint64_t found, std::uint64_t stated) {
  if (found == stated) return;
  throw UsageError(path.string() + " holds " + std::to_string(found) + " edges, expected " +
                       std::to_string(stated),
                   "copy or download it again");
}

/// Refuses more than was stated as soon as it comes, fewer at the end.
class CountedEdges : public EdgeReader {
 public:
  CountedEdges(EdgeReader& reader, const fs::path& path, std::uint64_t stated)
      : reader_(reader), path_(path), stated_(stated) {}
  bool next(EdgeBatch& batch) override {
    const bool more = reader_.next(batch);
    found_ += batch.size();
    if (!more || found_ > stated_) require_edges(path_, found_, stated_);
    return more;
  }
  double progress() const override { return reader_.progress(); }

 private:
  EdgeReader& reader_;
  fs::path path_;
  std::uint64_t stated_;
  std::uint64_t found_ = 0;
};

void import_csv(ImportJob& job) {
  const fs::path raw = job.options().input / "raw";
  const fs::path splits = split_folder(job.options());
  const std::uint64_t nodes = read_csv_count(csv_in(raw, "num-node-list"));
  const std::uint64_t edges = read_csv_count(csv_in(raw, "num-edge-list"));
  if (nodes == 0) throw UsageError(csv_in(raw, "num-node-list").string() + " says 0 nodes");
  job.announce_edges(edges, true);
  // Labels and features first: their rows prove the number of nodes.
  const NodeLabels labels = read_csv_labels(csv_in(raw, "node-label"), nodes);
  job.log().info(std::to_string(nodes) + " rows of labels");
  convert_csv_features(csv_in(raw, "node-feat"), nodes,
                       {.npy = job.directory() / "feat.npy",
                        .dtype = job.options().feature_dtype.value_or(DType::kF32),
                        .threads = job.options().threads},
                       job.log());
  const fs::path path = csv_in(raw, "edge");
  TextEdgeReader text(path, {.id_limit = nodes, .comments = false, .weights = false});
  CountedEdges reader(text, path, edges);
  job.import_edges(reader, nodes);
  job.set_splits(labels, read_splits(splits, nodes));
}

/// num_nodes_list or num_edges_list of one graph.
std::uint64_t only_number(const NpzArchive& archive, const std::string& name,
                          const fs::path& scratch) {
  const NpyArray array = archive.extract(name, scratch / (name + ".npy"));
  std::vector<std::uint64_t> numbers;
  read_ids(array, 0, array.num_elements(), std::uint64_t{1} << 62, numbers);
  if (numbers.size() == 1) return numbers.front();
  throw UsageError(
      array.path().string() + " holds " + std::to_string(numbers.size()) + " numbers, expected one",
      "give one graph, not several");
}

/// To its final place, so that the largest file is written once unless it is to change its type.
void extract_features(const ImportJob& job, const NpzArchive& data, std::uint64_t nodes) {
  const fs::path file = job.directory() / "feat.npy";
  const NpyArray features = data.extract("node_feat", file);
  const std::optional<DType> dtype = job.options().feature_dtype;
  if (!dtype || feature_dtype(features.type()) == dtype) {
    return check_features(features, nodes, job.options().threads);
  }
  const fs::path aside = job.scratch() / "feat.npy";
  fs::rename(file, aside);
  convert_features(features, nodes, file, dtype);
  fs::remove(aside);
}

void import_binary(ImportJob& job) {
  const fs::path raw = job.options().input / "raw";
  const fs::path splits = split_folder(job.options());
  const NpzArchive data(raw / "data.npz");
  const NpzArchive label_file(raw / "node-label.npz");
  job.announce_files("arrays", data.stated_bytes("edge_index") + data.stated_bytes("node_feat") +
                                   label_file.stated_bytes("node_label"));
  const std::uint64_t nodes = only_number(data, "num_nodes_list", job.scratch());
  const std::uint64_t edges = only_number(data, "num_edges_list", job.scratch());
  extract_features(job, data, nodes);
  const NodeLabels labels =
      labels_of(label_file.extract("node_label", job.scratch() / "label.npy"), nodes);
  fs::remove(job.scratch() / "label.npy");
  job.announce_edges(edges, true);
  NpyArray ends = data.extract("edge_index", job.scratch() / "edge_index.npy");
  const fs::path shown_as = ends.path();
  ArrayEdgeReader array(std::move(ends), std::nullopt, nodes);
  CountedEdges reader(array, shown_as, edges);
  job.import_edges(reader, nodes);
  job.set_splits(labels, read_splits(splits, nodes));
}

}  // namespace

void import_ogb(ImportJob& job) {
  std::error_code ignored;
  fs::exists(job.options().input / "raw" / "data.npz", ignored) ? import_binary(job)
                                                                : import_csv(job);
}

}  // namespace gsplit
