#include "sampler/vertex_cover.h"

#include <algorithm>

namespace gsplit {
namespace {

constexpr std::uint32_t kNone = ~std::uint32_t{0};

/// A maximum matching by phases of shortest augmenting paths. Depths count left nodes on
/// alternating paths that begin at unmatched left nodes.
class Matching {
 public:
  explicit Matching(const BipartiteView& graph)
      : graph_(graph),
        mate_of_left_(graph.num_lefts(), kNone),
        mate_of_right_(graph.num_rights, kNone),
        depths_(graph.num_lefts()),
        next_(graph.num_lefts()) {
    match_greedily();
    while (measure_depths()) {
      for (std::uint32_t left = 0; left < graph_.num_lefts(); ++left) {
        next_[left] = graph_.offsets[left];
      }
      for (std::uint32_t left = 0; left < graph_.num_lefts(); ++left) {
        if (mate_of_left_[left] == kNone) augment_from(left);
      }
    }
  }

  /// Koenig: the left nodes that no alternating path from an unmatched left node reaches, and the
  /// right nodes that one does. The last, vain search has left the depths of all that are reached.
  VertexCover cover() const {
    VertexCover cover{std::vector<std::uint8_t>(graph_.num_lefts(), 0),
                      std::vector<std::uint8_t>(graph_.num_rights, 0)};
    for (std::uint32_t left = 0; left < graph_.num_lefts(); ++left) {
      if (depths_[left] == kNone) {
        cover.lefts[left] = 1;
      } else {
        for (const std::uint32_t right : graph_.neighbors(left)) cover.rights[right] = 1;
      }
    }
    return cover;
  }

 private:
  void match(std::uint32_t left, std::uint32_t right) {
    mate_of_left_[left] = right;
    mate_of_right_[right] = left;
  }

  void match_greedily() {
    for (std::uint32_t left = 0; left < graph_.num_lefts(); ++left) {
      for (const std::uint32_t right : graph_.neighbors(left)) {
        if (mate_of_right_[right] != kNone) continue;
        match(left, right);
        break;
      }
    }
  }

  /// Breadth first from all unmatched left nodes, as deep as the first unmatched right node.
  /// Returns whether there is one.
  bool measure_depths() {
    std::fill(depths_.begin(), depths_.end(), kNone);
    queue_.clear();
    for (std::uint32_t left = 0; left < graph_.num_lefts(); ++left) {
      if (mate_of_left_[left] != kNone) continue;
      depths_[left] = 0;
      queue_.push_back(left);
    }
    last_depth_ = kNone;
    for (std::size_t i = 0; i < queue_.size(); ++i) {
      const std::uint32_t left = queue_[i];
      if (depths_[left] > last_depth_) break;
      for (const std::uint32_t right : graph_.neighbors(left)) {
        const std::uint32_t mate = mate_of_right_[right];
        if (mate == kNone) {
          last_depth_ = depths_[left];
        } else if (depths_[mate] == kNone) {
          depths_[mate] = depths_[left] + 1;
          queue_.push_back(mate);
        }
      }
    }
    return last_depth_ != kNone;
  }

  /// Depth first along rising depths, each edge once a phase. `path_` is the stack of left nodes;
  /// each has gone to the right node before its `next_`.
  void augment_from(std::uint32_t start) {
    path_.assign(1, start);
    while (!path_.empty()) {
      const std::uint32_t left = path_.back();
      if (next_[left] == graph_.offsets[left + 1]) {
        path_.pop_back();
        continue;
      }
      const std::uint32_t mate = mate_of_right_[graph_.rights[next_[left]++]];
      if (mate == kNone) {
        for (const std::uint32_t on_path : path_) match(on_path, graph_.rights[next_[on_path] - 1]);
        return;
      }
      if (depths_[mate] == depths_[left] + 1 && depths_[mate] <= last_depth_) path_.push_back(mate);
    }
  }

  const BipartiteView& graph_;
  std::vector<std::uint32_t> mate_of_left_;
  std::vector<std::uint32_t> mate_of_right_;
  std::vector<std::uint32_t> depths_;
  std::uint32_t last_depth_ = kNone;  // of the shortest augmenting paths
  std::vector<std::uint32_t> next_;   // (lefts) edge to try next in this phase
  std::vector<std::uint32_t> queue_;
  std::vector<std::uint32_t> path_;
};

}  // namespace

std::size_t VertexCover::size() const {
  return static_cast<std::size_t>(std::count(lefts.begin(), lefts.end(), 1) +
                                  std::count(rights.begin(), rights.end(), 1));
}

VertexCover minimum_vertex_cover(const BipartiteView& graph) { return Matching(graph).cover(); }

}  // namespace gsplit
