// How predictions compare with labels: what accuracy and micro-F1 are computed from.
#pragma once

#include <cstdint>

namespace gsplit {

/// Over nodes and classes together. With one class a node every miss is one false positive (the
/// class predicted) and one false negative (the label), so that f1() is the accuracy.
struct PredictionCounts {
  std::uint64_t true_positives = 0;
  std::uint64_t false_positives = 0;
  std::uint64_t false_negatives = 0;

  /// Micro-F1, 2 TP / (2 TP + FP + FN); 0 where nothing is positive and nothing was predicted so.
  double f1() const {
    const std::uint64_t both = 2 * true_positives + false_positives + false_negatives;
    return both == 0 ? 0 : static_cast<double>(2 * true_positives) / static_cast<double>(both);
  }

  PredictionCounts& operator+=(const PredictionCounts& other) {
    true_positives += other.true_positives;
    false_positives += other.false_positives;
    false_negatives += other.false_negatives;
    return *this;
  }
  bool operator==(const PredictionCounts&) const = default;
};

}  // namespace gsplit
