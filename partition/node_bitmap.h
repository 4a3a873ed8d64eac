// A set of nodes as one bit each, filled by several threads at once.
#pragma once

#include <atomic>
#include <bit>
#include <cstdint>
#include <vector>

namespace gsplit {

class NodeBitmap {
 public:
  explicit NodeBitmap(std::uint64_t nodes) : words_((nodes + 63) / 64, 0) {}

  /// Returns whether the node is new; of several threads inserting one node exactly one is told so.
  bool insert(std::uint64_t node) {
    std::atomic_ref<std::uint64_t> word(words_[node / 64]);
    const std::uint64_t bit = std::uint64_t{1} << (node % 64);
    // Most nodes that are there already need no locked instruction.
    if ((word.load(std::memory_order_relaxed) & bit) != 0) return false;
    return (word.fetch_or(bit, std::memory_order_relaxed) & bit) == 0;
  }
  /// Removes the node and its 63 neighbours in id: for clearing all by visiting each member.
  void clear_word_of(std::uint64_t node) {
    std::atomic_ref<std::uint64_t>(words_[node / 64]).store(0, std::memory_order_relaxed);
  }
  /// Appends the members, ascending, to `out` and empties the set. Not thread-safe.
  void drain(std::vector<std::uint64_t>& out) {
    for (std::size_t i = 0; i < words_.size(); ++i) {
      for (std::uint64_t bits = words_[i]; bits != 0; bits &= bits - 1) {
        out.push_back(i * 64 + static_cast<std::uint64_t>(std::countr_zero(bits)));
      }
      words_[i] = 0;
    }
  }

 private:
  std::vector<std::uint64_t> words_;
};

}  // namespace gsplit
