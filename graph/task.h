// What is learnt of a node: one class, or any number of labels.
#pragma once

#include <cstdint>

namespace gsplit {

enum class Task : std::uint8_t {
  kMultiClass,  ///< one of num_classes classes a node: cross-entropy, accuracy
  kMultiLabel,  ///< each of num_classes labels holds or not: binary cross-entropy, micro-F1
};

/// As partition.json spells it.
constexpr const char* name_of(Task task) {
  return task == Task::kMultiLabel ? "multi_label" : "multi_class";
}

/// What the accuracies of a run are: the `metric` of events.jsonl and of the lines for people.
constexpr const char* metric_of(Task task) {
  return task == Task::kMultiLabel ? "micro_f1" : "accuracy";
}

}  // namespace gsplit
