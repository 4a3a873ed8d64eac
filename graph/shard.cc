#include "graph/shard.h"

#include <algorithm>
#include <fstream>
#include <limits>
#include <nlohmann/json.hpp>

#include "graph/features.h"
#include "graph/json_input.h"
#include "graph/small_file.h"

namespace gsplit {
namespace {

constexpr int kFormatVersion = 2;
constexpr const char* kRemedy = "make the partition again with gsplit partition";

[[noreturn]] void refuse(const std::filesystem::path& file, const std::string& fault) {
  throw UsageError(file.string() + " " + fault, kRemedy);
}

std::string shape_text(std::span<const std::uint64_t> shape) {
  std::string text = "(";
  for (const std::uint64_t dimension : shape) {
    text += (text.size() == 1 ? "" : ", ") + std::to_string(dimension);
  }
  return text + ")";
}

void require_shape(const NpyArray& array, const std::vector<std::uint64_t>& shape) {
  if (array.shape() == shape) return;
  refuse(array.path(),
         "has shape " + shape_text(array.shape()) + ", expected " + shape_text(shape));
}

/// A one-dimensional array of T with `length` elements.
template <class T>
NpyArray open_column(const std::filesystem::path& path, std::uint64_t length) {
  NpyArray array = NpyArray::open(path);
  array.as<T>();
  require_shape(array, {length});
  return array;
}

NpyArray open_indptr(const std::filesystem::path& path, std::uint64_t nodes, std::uint64_t edges) {
  NpyArray array = open_column<std::int64_t>(path, nodes + 1);
  const auto indptr = array.as<std::int64_t>();
  if (indptr.front() != 0 || static_cast<std::uint64_t>(indptr.back()) != edges ||
      !std::is_sorted(indptr.begin(), indptr.end())) {
    refuse(path, "does not bound the rows of indices.npy");
  }
  return array;
}

/// Of an array that may be large; 0 of an empty one.
template <class T>
std::uint64_t largest_of(std::span<const T> values) {
  T largest = 0;
  for (const T value : values) largest = std::max(largest, value);
  return largest;
}

NpyArray open_indices(const std::filesystem::path& path, std::uint64_t num_nodes) {
  NpyArray array = NpyArray::open(path);
  if (num_nodes <= std::numeric_limits<std::uint32_t>::max()) {
    array.as<std::uint32_t>();
  } else {
    array.as<std::uint64_t>();
  }
  require_shape(array, {array.num_elements()});
  const std::uint64_t largest = array.type().bytes == 4 ? largest_of(array.as<std::uint32_t>())
                                                        : largest_of(array.as<std::uint64_t>());
  if (array.num_elements() > 0 && largest >= num_nodes) {
    refuse(path,
           "holds node " + std::to_string(largest) + ", there are " + std::to_string(num_nodes));
  }
  return array;
}

/// Without a repetition.
template <class T>
bool is_ascending(std::span<const T> values) {
  return std::adjacent_find(values.begin(), values.end(), std::greater_equal<>()) == values.end();
}

NpyArray open_original_ids(const std::filesystem::path& path, std::uint64_t nodes,
                           std::uint64_t num_nodes) {
  NpyArray array = open_column<std::uint64_t>(path, nodes);
  const auto ids = array.as<std::uint64_t>();
  if (!is_ascending(ids) || (!ids.empty() && ids.back() >= num_nodes)) {
    refuse(path, "does not hold ascending ids below " + std::to_string(num_nodes));
  }
  return array;
}

NpyArray open_features(const std::filesystem::path& path, std::uint64_t nodes,
                       std::uint64_t width) {
  NpyArray array = NpyArray::open(path);
  if (!feature_dtype(array.type())) {
    refuse(path, "holds " + array.type().name() + ", expected f2, f4 or bf16");
  }
  require_shape(array, {nodes, width});
  return array;
}

NpyArray open_classes(const std::filesystem::path& path, std::uint64_t nodes,
                      std::uint64_t num_classes) {
  NpyArray array = open_column<std::int32_t>(path, nodes);
  const auto bad = [num_classes](std::int32_t label) {
    return label < -1 || label >= static_cast<std::int64_t>(num_classes);
  };
  const auto labels = array.as<std::int32_t>();
  if (std::any_of(labels.begin(), labels.end(), bad)) {
    refuse(path, "holds labels that are not from -1 to " + std::to_string(num_classes - 1));
  }
  return array;
}

NpyArray open_labels(const std::filesystem::path& path, std::uint64_t nodes,
                     const PartitionInfo& info) {
  if (info.task == Task::kMultiClass) return open_classes(path, nodes, info.num_classes);
  NpyArray array = NpyArray::open(path);
  const auto labels = array.as<std::uint8_t>();
  require_shape(array, {nodes, info.num_classes});
  if (std::any_of(labels.begin(), labels.end(), [](std::uint8_t label) { return label > 1; })) {
    refuse(path, "holds labels that are neither 0 nor 1");
  }
  return array;
}

/// Ascending local ids of one split.
NpyArray open_split(const std::filesystem::path& path, std::uint64_t nodes) {
  NpyArray array = NpyArray::open(path);
  const auto ids = array.as<std::uint32_t>();
  require_shape(array, {ids.size()});
  if (!is_ascending(ids) || (!ids.empty() && ids.back() >= nodes)) {
    refuse(path, "does not hold ascending local ids below " + std::to_string(nodes));
  }
  return array;
}

/// Files hold plain integers; enums of the same size give them their meaning.
template <class Id, class Integer>
std::span<const Id> ids_of(const NpyArray& array) {
  static_assert(sizeof(Id) == sizeof(Integer));
  const auto values = array.as<Integer>();
  return {reinterpret_cast<const Id*>(values.data()), values.size()};
}

void check_info(const PartitionInfo& info, const std::filesystem::path& file) {
  if (info.num_classes < 1 || info.num_classes > std::numeric_limits<std::int32_t>::max()) {
    refuse(file, "has " + std::to_string(info.num_classes) + " classes");
  }
  const std::vector<std::uint64_t>& bounds = info.bounds;
  if (info.num_parts < 1 || bounds.size() != static_cast<std::size_t>(info.num_parts) + 1 ||
      bounds.front() != 0 || bounds.back() != info.num_nodes) {
    refuse(file, "has bounds that do not cover its nodes by its parts");
  }
  for (std::size_t part = 0; part + 1 < bounds.size(); ++part) {
    if (bounds[part] >= bounds[part + 1] || bounds[part + 1] - bounds[part] >= value(kNoLocal)) {
      refuse(file, "gives part " + std::to_string(part) +
                       " no nodes or more than a 32-bit local id can name");
    }
  }
}

Task task_from_name(const std::string& name, const std::filesystem::path& file) {
  for (const Task task : {Task::kMultiClass, Task::kMultiLabel}) {
    if (name == name_of(task)) return task;
  }
  refuse(file, "has the unknown task " + name);
}

/// The fields of partition.json.
class Fields {
 public:
  Fields(const nlohmann::json& json, const std::filesystem::path& file)
      : json_(json), file_(file) {}

  std::string text(const char* key) const { return at(key).get<std::string>(); }
  bool flag(const char* key) const { return at(key).get<bool>(); }
  template <class T>
  T number(const char* key) const {
    return number_of<T>(at(key), key);
  }
  template <class T>
  std::vector<T> numbers(const char* key) const {
    std::vector<T> list;
    if (!at(key).is_array()) refuse(file_, std::string("is damaged: ") + key + " is no list");
    for (const nlohmann::json& entry : at(key)) list.push_back(number_of<T>(entry, key));
    return list;
  }

 private:
  const nlohmann::json& at(const char* key) const { return json_.at(key); }
  template <class T>
  T number_of(const nlohmann::json& json, const char* key) const {
    const auto number = whole_number<T>(json);
    if (!number) refuse(file_, std::string("is damaged: ") + key + " is no integer of its range");
    return *number;
  }

  const nlohmann::json& json_;
  const std::filesystem::path& file_;
};

PartitionInfo from_json(const nlohmann::json& json, const std::filesystem::path& file) {
  const Fields fields(json, file);
  PartitionInfo info;
  info.format_version = fields.number<int>("format_version");
  info.num_parts = fields.number<int>("num_parts");
  info.method = fields.text("method");
  info.dataset_name = fields.text("dataset_name");
  info.dataset_fingerprint = fields.text("dataset_fingerprint");
  info.seed = fields.number<std::uint64_t>("seed");
  info.fanout = fields.numbers<std::int32_t>("fanout");
  info.num_nodes = fields.number<std::uint64_t>("num_nodes");
  info.num_edges = fields.number<std::uint64_t>("num_edges");
  info.num_classes = fields.number<std::uint64_t>("num_classes");
  info.task = task_from_name(fields.text("task"), file);
  info.feature_width = fields.number<std::uint64_t>("feature_width");
  info.edge_weights = fields.flag("edge_weights");
  info.num_train = fields.number<std::uint64_t>("num_train");
  info.num_validation = fields.number<std::uint64_t>("num_validation");
  info.num_test = fields.number<std::uint64_t>("num_test");
  info.bounds = fields.numbers<std::uint64_t>("bounds");
  return info;
}

nlohmann::ordered_json to_json(const PartitionInfo& info) {
  return {{"format_version", info.format_version},
          {"num_parts", info.num_parts},
          {"method", info.method},
          {"dataset_name", info.dataset_name},
          {"dataset_fingerprint", info.dataset_fingerprint},
          {"seed", info.seed},
          {"fanout", info.fanout},
          {"num_nodes", info.num_nodes},
          {"num_edges", info.num_edges},
          {"num_classes", info.num_classes},
          {"task", name_of(info.task)},
          {"feature_width", info.feature_width},
          {"edge_weights", info.edge_weights},
          {"num_train", info.num_train},
          {"num_validation", info.num_validation},
          {"num_test", info.num_test},
          {"bounds", info.bounds}};
}

nlohmann::json parse_file(const std::filesystem::path& file) {
  std::error_code unreadable;
  if (!std::filesystem::exists(file, unreadable)) {
    throw UsageError("cannot open " + file.string(), "give a directory made by gsplit partition");
  }
  auto json = parse_json<nlohmann::json>(read_small_file(file, kMostJsonBytes));
  if (!json.is_object()) refuse(file, "is not a JSON object");
  return json;
}

}  // namespace

PartitionInfo read_partition_info(const std::filesystem::path& file) {
  const nlohmann::json json = parse_file(file);
  const auto version = json.find("format_version");
  if (version != json.end() && *version != kFormatVersion) {
    refuse(file, "has format version " + version->dump() + ", this gsplit reads " +
                     std::to_string(kFormatVersion));
  }
  try {
    const PartitionInfo info = from_json(json, file);
    check_info(info, file);
    return info;
  } catch (const nlohmann::json::exception& error) {
    refuse(file, std::string("is damaged: ") + error.what());
  }
}

void write_partition_info(const std::filesystem::path& file, const PartitionInfo& info) {
  std::ofstream stream(file);
  stream << to_json(info).dump(2) << '\n';
  stream.close();
  if (!stream) throw SystemError("cannot write " + file.string(), "check the disk's space");
}

std::filesystem::path shard_directory(const std::filesystem::path& partition, int part) {
  return partition / ("part-" + std::to_string(part));
}

Partition Partition::open(const std::filesystem::path& directory) {
  Partition partition;
  partition.directory_ = directory;
  partition.info_ = read_partition_info(directory / "partition.json");
  const std::filesystem::path seeds_file = directory / "train_seeds.npy";
  partition.train_seeds_ = open_column<std::uint64_t>(seeds_file, partition.info_.num_train);
  const std::uint64_t num_nodes = partition.info_.num_nodes;
  for (const GlobalId seed : partition.train_seeds()) {
    if (value(seed) >= num_nodes) {
      refuse(seeds_file, "holds node " + std::to_string(value(seed)) + ", there are " +
                             std::to_string(num_nodes));
    }
  }
  return partition;
}

std::span<const GlobalId> Partition::train_seeds() const {
  return ids_of<GlobalId, std::uint64_t>(train_seeds_);
}

Shard Shard::open(const Partition& partition, int part) {
  const PartitionInfo& info = partition.info();
  if (part < 0 || part >= info.num_parts) {
    throw UsageError(partition.directory().string() + " has no part " + std::to_string(part),
                     "it has " + std::to_string(info.num_parts) + " parts");
  }
  const std::filesystem::path directory = shard_directory(partition.directory(), part);
  Shard shard;
  shard.part_ = part;
  shard.range_ = info.range(part);
  const std::uint64_t nodes = shard.range_.size();
  shard.indices_ = open_indices(directory / "indices.npy", info.num_nodes);
  shard.indptr_ = open_indptr(directory / "indptr.npy", nodes, shard.indices_.num_elements());
  if (info.edge_weights) {
    shard.edge_weights_ =
        open_column<float>(directory / "edge_weights.npy", shard.indices_.num_elements());
  }
  shard.original_ids_ = open_original_ids(directory / "original_ids.npy", nodes, info.num_nodes);
  shard.features_ = open_features(directory / "features.npy", nodes, info.feature_width);
  shard.task_ = info.task;
  shard.num_classes_ = info.num_classes;
  shard.labels_ = open_labels(directory / "labels.npy", nodes, info);
  shard.train_ = open_split(directory / "train_nodes.npy", nodes);
  shard.validation_ = open_split(directory / "validation_nodes.npy", nodes);
  shard.test_ = open_split(directory / "test_nodes.npy", nodes);
  return shard;
}

TopologyView Shard::topology() const {
  TopologyView view{.indptr = indptr_.as<std::int64_t>(), .original_ids = original_ids()};
  if (indices_.type().bytes == 4) {
    view.indices32 = indices_.as<std::uint32_t>();
  } else {
    view.indices64 = indices_.as<std::uint64_t>();
  }
  if (edge_weights_) view.edge_weights = edge_weights_->as<float>();
  return view;
}

std::span<const OriginalId> Shard::original_ids() const {
  return ids_of<OriginalId, std::uint64_t>(original_ids_);
}

ConstMatrixView Shard::features() const {
  const auto rows = static_cast<std::int64_t>(features_.shape()[0]);
  const auto cols = static_cast<std::int64_t>(features_.shape()[1]);
  return {features_.bytes().data(), *feature_dtype(features_.type()), rows, cols, cols};
}

std::span<const std::int32_t> Shard::labels() const {
  GSPLIT_CHECK(task_ == Task::kMultiClass);
  return labels_.as<std::int32_t>();
}

std::span<const std::uint8_t> Shard::label_matrix() const {
  GSPLIT_CHECK(task_ == Task::kMultiLabel);
  return labels_.as<std::uint8_t>();
}

std::span<const LocalId> Shard::train_nodes() const {
  return ids_of<LocalId, std::uint32_t>(train_);
}
std::span<const LocalId> Shard::validation_nodes() const {
  return ids_of<LocalId, std::uint32_t>(validation_);
}
std::span<const LocalId> Shard::test_nodes() const { return ids_of<LocalId, std::uint32_t>(test_); }

}  // namespace gsplit
