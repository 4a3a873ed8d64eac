#include <yaml-cpp/yaml.h>

#include <cstring>

#include "graph/dataset.h"

namespace gsplit {
namespace {

void write_split(const std::filesystem::path& directory, const std::string& prefix,
                 const LabeledNodes& split) {
  // 64-bit signed, as GraphBolt's loaders hand them to torch.
  const std::vector<std::int64_t> seeds(split.nodes.begin(), split.nodes.end());
  write_npy<std::int64_t>(directory / (prefix + "_seeds.npy"), seeds, {seeds.size()});
  const std::filesystem::path file = directory / (prefix + "_labels.npy");
  if (split.label_rows.empty()) {
    GSPLIT_CHECK(split.nodes.size() == split.labels.size());
    const std::vector<std::int64_t> labels(split.labels.begin(), split.labels.end());
    write_npy<std::int64_t>(file, labels, {labels.size()});
  } else {
    write_npy<std::uint8_t>(file, split.label_rows,
                            {seeds.size(), split.label_rows.size() / seeds.size()});
  }
}

YAML::Node numpy_entry(const std::string& path) {
  YAML::Node entry;
  entry["format"] = "numpy";
  entry["path"] = path;
  return entry;
}

YAML::Node named_entry(const std::string& name, const std::string& path) {
  YAML::Node entry = numpy_entry(path);
  entry["name"] = name;
  return entry;
}

YAML::Node split_entry(const std::string& prefix) {
  YAML::Node set;
  set["data"].push_back(named_entry("seeds", prefix + "_seeds.npy"));
  set["data"].push_back(named_entry("labels", prefix + "_labels.npy"));
  YAML::Node list;
  list.push_back(set);
  return list;
}

YAML::Node description_of(const DatasetArrays& arrays) {
  YAML::Node root;
  root["dataset_name"] = arrays.name;
  YAML::Node nodes;
  nodes["num"] = arrays.num_nodes;
  root["graph"]["nodes"].push_back(nodes);
  root["graph"]["edges"].push_back(numpy_entry("edges.npy"));
  if (arrays.edge_weights) {
    YAML::Node weights = named_entry("weight", "edge_weight.npy");
    weights["domain"] = "edge";
    root["graph"]["feature_data"].push_back(weights);
  }
  YAML::Node features = named_entry("feat", "feat.npy");
  features["domain"] = "node";
  root["feature_data"].push_back(features);
  YAML::Node task;
  task["name"] = "node_classification";
  task["num_classes"] = arrays.num_classes;
  task["train_set"] = split_entry("train");
  if (!arrays.validation.nodes.empty()) task["validation_set"] = split_entry("valid");
  if (!arrays.test.nodes.empty()) task["test_set"] = split_entry("test");
  root["tasks"].push_back(task);
  return root;
}

}  // namespace

void write_dataset_metadata(const std::filesystem::path& directory, const DatasetArrays& arrays) {
  write_split(directory, "train", arrays.train);
  if (!arrays.validation.nodes.empty()) write_split(directory, "valid", arrays.validation);
  if (!arrays.test.nodes.empty()) write_split(directory, "test", arrays.test);
  YAML::Emitter text;
  text << description_of(arrays) << YAML::Newline;
  // Renamed last: a directory with a metadata.yaml is whole.
  const std::filesystem::path unfinished = directory / ".metadata.yaml";
  MappedFile file = MappedFile::create(unfinished, text.size());
  std::memcpy(file.writable_bytes().data(), text.c_str(), text.size());
  file.sync();
  std::filesystem::rename(unfinished, directory / "metadata.yaml");
}

}  // namespace gsplit
