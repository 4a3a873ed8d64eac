#include "graph/dataset_description.h"

#include <yaml-cpp/yaml.h>

#include <charconv>
#include <initializer_list>
#include <limits>
#include <vector>

#include "graph/small_file.h"
#include "kernels/base/error.h"

namespace gsplit {
namespace {

constexpr const char* kSpecification = "see GraphBolt's OnDiskDataset specification";

/// A node of the YAML tree that knows where it stands, so that every refusal can say so. A null
/// value counts as absent, as in GraphBolt.
class YamlView {
 public:
  YamlView(YAML::Node node, const std::filesystem::path& file, std::string where)
      : node_(node), file_(&file), where_(std::move(where)) {}

  [[noreturn]] void refuse(const std::string& fault, const std::string& remedy) const {
    const std::string line =
        node_.Mark().is_null() ? "" : " line " + std::to_string(node_.Mark().line + 1);
    throw UsageError(file_->string() + line + ": " + (where_.empty() ? "it" : where_) + " " + fault,
                     remedy);
  }

  std::optional<YamlView> find(const std::string& key) const {
    if (!node_.IsMap()) refuse("is not a mapping", kSpecification);
    const YAML::Node& parent = node_;
    const YAML::Node child = parent[key];
    if (!child.IsDefined() || child.IsNull()) return std::nullopt;
    return YamlView(child, *file_, where_.empty() ? key : where_ + "." + key);
  }
  YamlView at(const std::string& key) const {
    if (auto child = find(key)) return *child;
    refuse("has no key '" + key + "'", "add it; " + std::string(kSpecification));
  }

  std::vector<YamlView> items() const {
    if (!node_.IsSequence()) refuse("is not a list", kSpecification);
    std::vector<YamlView> views;
    for (std::size_t i = 0; i < node_.size(); ++i) {
      views.emplace_back(node_[i], *file_, where_ + "[" + std::to_string(i) + "]");
    }
    return views;
  }
  /// The only entry of a list whose entries could have types.
  YamlView only_untyped_item() const {
    const std::vector<YamlView> views = items();
    for (const YamlView& view : views) {
      if (view.find("type")) {
        view.refuse("has a type",
                    "typed nodes and edges are not supported: give a homogeneous "
                    "graph, without 'type'");
      }
    }
    if (views.size() != 1) {
      refuse("has " + std::to_string(views.size()) + " entries, expected one",
             "give a homogeneous graph");
    }
    return views.front();
  }

  std::string text() const {
    if (!node_.IsScalar()) refuse("is not a plain value", kSpecification);
    return node_.Scalar();
  }
  std::uint64_t positive_integer(std::uint64_t largest) const {
    const std::string digits = text();
    std::uint64_t value = 0;
    const auto [end, error] = std::from_chars(digits.data(), digits.data() + digits.size(), value);
    if (error != std::errc{} || end != digits.data() + digits.size() || value == 0 ||
        value > largest) {
      refuse("is '" + digits + "', expected an integer from 1 to " + std::to_string(largest),
             "correct it");
    }
    return value;
  }

  /// The path of an entry {format: numpy, path}.
  std::filesystem::path numpy_path() const {
    const YamlView format = at("format");
    const std::string name = format.text();
    if (name == "torch") {
      format.refuse("is torch, a pickle, which is never loaded",
                    "convert it: numpy.save('x.npy', torch.load('x.pt').numpy()), and give "
                    "'format: numpy'");
    }
    if (name == "csv") {
      format.refuse("is csv, which only gsplit import reads, and only for edges",
                    "run gsplit import --format graphbolt, or save it as npy and give 'format: "
                    "numpy'");
    }
    if (name != "numpy") format.refuse("is '" + name + "'", "give 'numpy'");
    return file_path();
  }
  std::filesystem::path file_path() const {
    const YamlView path = at("path");
    if (path.text().empty()) path.refuse("is empty", "name a file");
    return file_->parent_path() / path.text();
  }

 private:
  YAML::Node node_;
  const std::filesystem::path* file_;
  std::string where_;
};

/// The node features: the entry named feat, or the only one.
YamlView find_features(const YamlView& root) {
  std::vector<YamlView> candidates;
  const YamlView list = root.at("feature_data");
  for (const YamlView& entry : list.items()) {
    if (entry.at("domain").text() != "node") continue;
    if (entry.find("type")) {
      entry.refuse("has a type", "typed nodes are not supported: give a homogeneous graph");
    }
    if (entry.at("name").text() == "feat") return entry;
    candidates.push_back(entry);
  }
  if (candidates.size() == 1) return candidates.front();
  if (candidates.empty()) list.refuse("has no entry of domain node", "add the node features");
  list.refuse("has several entries of domain node and none is named feat",
              "name the one to train on feat");
}

void collect_edge_weights(const std::optional<YamlView>& list, std::vector<YamlView>& found) {
  if (!list) return;
  for (const YamlView& entry : list->items()) {
    if (entry.at("domain").text() != "edge") continue;
    const std::string name = entry.at("name").text();
    if (name != "weight" && name != "edge_weight") continue;
    if (entry.find("type")) {
      entry.refuse("has a type", "typed edges are not supported: give a homogeneous graph");
    }
    found.push_back(entry);
  }
}

/// The edge data named weight or edge_weight, from either place that GraphBolt has for them; other
/// edge data are left alone.
std::optional<std::filesystem::path> find_edge_weights(const YamlView& root) {
  std::vector<YamlView> found;
  collect_edge_weights(root.at("graph").find("feature_data"), found);
  collect_edge_weights(root.find("feature_data"), found);
  if (found.empty()) return std::nullopt;
  if (found.size() > 1) found.back().refuse("gives edge weights once more", "keep one entry");
  return found.front().numpy_path();
}

YamlView find_task(const YamlView& root) {
  const YamlView list = root.at("tasks");
  const std::vector<YamlView> tasks = list.items();
  for (const YamlView& task : tasks) {
    const auto name = task.find("name");
    if (name && name->text() == "node_classification") return task;
  }
  if (tasks.size() == 1) return tasks.front();
  list.refuse("has " + std::to_string(tasks.size()) + " entries and none is node_classification",
              "name the one to train on node_classification");
}

/// The entry of `set` that has one of `names`: GraphBolt's versions call the ids differently.
std::filesystem::path find_data(const YamlView& set, std::initializer_list<const char*> names) {
  const YamlView data = set.at("data");
  const std::vector<YamlView> entries = data.items();
  for (const char* name : names) {
    for (const YamlView& entry : entries) {
      if (entry.at("name").text() == name) return entry.numpy_path();
    }
  }
  data.refuse("has no entry named " + std::string(*names.begin()), "add it");
}

SplitFiles read_split(const YamlView& list) {
  const YamlView set = list.only_untyped_item();
  return {find_data(set, {"seeds", "seed_nodes", "indexes"}), find_data(set, {"labels"})};
}

std::optional<SplitFiles> find_split(const YamlView& task, const std::string& key) {
  const auto list = task.find(key);
  return list ? std::optional(read_split(*list)) : std::nullopt;
}

void describe_edges(const YamlView& entry, EdgeFormats formats, DatasetDescription& description) {
  description.csv_edges = formats == EdgeFormats::kNumpyOrCsv && entry.at("format").text() == "csv";
  description.edges = description.csv_edges ? entry.file_path() : entry.numpy_path();
}

DatasetDescription describe(const YamlView& root, EdgeFormats formats) {
  DatasetDescription description;
  const auto name = root.find("dataset_name");
  description.name = name ? name->text() : "unnamed";
  const YamlView graph = root.at("graph");
  description.num_nodes = graph.at("nodes").only_untyped_item().at("num").positive_integer(
      std::numeric_limits<std::int64_t>::max());
  describe_edges(graph.at("edges").only_untyped_item(), formats, description);
  description.features = find_features(root).numpy_path();
  description.edge_weights = find_edge_weights(root);
  const YamlView task = find_task(root);
  description.num_classes =
      task.at("num_classes").positive_integer(std::numeric_limits<std::int32_t>::max());
  description.train = read_split(task.at("train_set"));
  description.validation = find_split(task, "validation_set");
  description.test = find_split(task, "test_set");
  return description;
}

}  // namespace

DatasetDescription read_dataset_description(const std::filesystem::path& file,
                                            EdgeFormats formats) {
  const std::string text = read_small_file(file, kMostYamlBytes);
  try {
    return describe(YamlView(YAML::Load(text), file, ""), formats);
  } catch (const YAML::Exception& error) {
    throw UsageError(file.string() + " is not valid YAML: " + error.what(), "correct it");
  }
}

}  // namespace gsplit
