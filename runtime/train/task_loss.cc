#include "runtime/train/task_loss.h"

#include <utility>

namespace gsplit {

TaskLoss::TaskLoss(const Shard& shard, std::vector<double> class_weights, Context& context)
    : shard_(shard),
      class_weights_(std::move(class_weights)),
      device_class_weights_(context.to_device(class_weights_)),
      context_(context) {}

bool TaskLoss::weighs_nodes() const {
  return shard_.task() == Task::kMultiClass && !class_weights_.empty();
}

double TaskLoss::weight_of_a_node() const {
  GSPLIT_CHECK(!weighs_nodes());
  return shard_.task() == Task::kMultiLabel ? static_cast<double>(shard_.num_classes()) : 1;
}

double TaskLoss::weight(std::span<const LocalId> nodes) const {
  if (!weighs_nodes()) return static_cast<double>(nodes.size()) * weight_of_a_node();
  double sum = 0;
  for (const std::int32_t label : classes_of(nodes)) {
    sum += class_weights_[static_cast<std::size_t>(label)];
  }
  return sum;
}

LossSums TaskLoss::sums(std::span<const LocalId> nodes, ConstMatrixView logits, double scale,
                        MatrixView gradient) const {
  DenseOps& dense = context_.backend.dense();
  if (shard_.task() == Task::kMultiLabel) {
    const std::vector<std::uint8_t> rows = label_rows_of(nodes);
    const DeviceArray<std::uint8_t> labels = context_.to_device(rows);
    return dense.binary_cross_entropy({.logits = logits,
                                       .labels = labels.span(),
                                       .positive_weights = device_class_weights_.span(),
                                       .scale = scale,
                                       .gradient = gradient},
                                      context_.stream);
  }
  const std::vector<std::int32_t> classes = classes_of(nodes);
  const DeviceArray<std::int32_t> labels = context_.to_device(classes);
  return dense.cross_entropy({.logits = logits,
                              .labels = labels.span(),
                              .scale = scale,
                              .gradient = gradient,
                              .class_weights = device_class_weights_.span()},
                             context_.stream);
}

std::vector<std::int32_t> TaskLoss::classes_of(std::span<const LocalId> nodes) const {
  std::vector<std::int32_t> classes;
  classes.reserve(nodes.size());
  for (const LocalId node : nodes) classes.push_back(shard_.labels()[value(node)]);
  return classes;
}

std::vector<std::uint8_t> TaskLoss::label_rows_of(std::span<const LocalId> nodes) const {
  const std::size_t width = shard_.num_classes();
  std::vector<std::uint8_t> rows;
  rows.reserve(nodes.size() * width);
  for (const LocalId node : nodes) {
    const auto row = shard_.label_matrix().subspan(value(node) * width, width);
    rows.insert(rows.end(), row.begin(), row.end());
  }
  return rows;
}

}  // namespace gsplit
