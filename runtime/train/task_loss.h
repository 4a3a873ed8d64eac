// The loss of the shard's task: softmax cross-entropy for one class a node, binary cross-entropy
// for labels. docs/numerics.md gives the formulas.
#pragma once

#include <span>
#include <vector>

#include "graph/shard.h"
#include "runtime/nn/conv.h"

namespace gsplit {

class TaskLoss {
 public:
  /// `class_weights`: (num_classes), or empty. The references must outlive the loss.
  TaskLoss(const Shard& shard, std::vector<double> class_weights, Context& context);
  TaskLoss(const TaskLoss&) = delete;
  TaskLoss& operator=(const TaskLoss&) = delete;

  /// Whether the denominator of the mean depends on which labels the nodes have.
  bool weighs_nodes() const;
  /// What own `nodes` add to the denominator of the mean loss: their number, times the classes for
  /// labels; with class weights and one class a node, the sum of their weights.
  double weight(std::span<const LocalId> nodes) const;
  /// What each node adds. REQUIRES: not weighs_nodes().
  double weight_of_a_node() const;

  /// Sums over own `nodes`, whose logits are the rows of `logits`; the gradient of the sum times
  /// `scale` into `gradient`, which has no rows where it is not wanted.
  LossSums sums(std::span<const LocalId> nodes, ConstMatrixView logits, double scale = 1,
                MatrixView gradient = {}) const;

 private:
  std::vector<std::int32_t> classes_of(std::span<const LocalId> nodes) const;
  std::vector<std::uint8_t> label_rows_of(std::span<const LocalId> nodes) const;

  const Shard& shard_;
  std::vector<double> class_weights_;
  DeviceArray<double> device_class_weights_;
  Context& context_;
};

}  // namespace gsplit
