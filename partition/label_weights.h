// Weights summed by label, in a table whose size follows the labels in use. Not thread-safe.
#pragma once

#include <algorithm>
#include <cstdint>
#include <utility>
#include <vector>

namespace gsplit {

class LabelWeights {
 public:
  void clear() {
    for (const std::uint32_t place : used_) labels_[place] = kEmpty;
    used_.clear();
  }
  void add(std::uint32_t label, std::uint64_t weight) {
    if (2 * used_.size() >= labels_.size()) grow();
    const std::size_t place = find(label);
    if (labels_[place] == kEmpty) {
      labels_[place] = label;
      weights_[place] = 0;
      used_.push_back(static_cast<std::uint32_t>(place));
    }
    weights_[place] += weight;
  }
  /// f(label, weight), in the order of first appearance.
  template <class F>
  void for_each(F&& f) const {
    for (const std::uint32_t place : used_) f(labels_[place], weights_[place]);
  }

 private:
  static constexpr std::uint32_t kEmpty = 0xFFFFFFFFu;

  std::size_t find(std::uint32_t label) const {
    const std::size_t mask = labels_.size() - 1;
    std::size_t place = (label * std::size_t{0x9E3779B1u} >> 7) & mask;
    while (labels_[place] != kEmpty && labels_[place] != label) place = (place + 1) & mask;
    return place;
  }
  void grow() {
    std::vector<std::pair<std::uint32_t, std::uint64_t>> content;
    for_each(
        [&](std::uint32_t label, std::uint64_t weight) { content.emplace_back(label, weight); });
    labels_.assign(std::max<std::size_t>(64, 2 * labels_.size()), kEmpty);
    weights_.resize(labels_.size());
    used_.clear();
    for (const auto& [label, weight] : content) add(label, weight);
  }

  std::vector<std::uint32_t> labels_;
  std::vector<std::uint64_t> weights_;
  std::vector<std::uint32_t> used_;
};

}  // namespace gsplit
