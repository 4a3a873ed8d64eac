// The sequential reference of kernels/base/cover.h. Parts have nothing in common, so threads take
// them one by one.
#include "kernels/base/cover.h"

#include <algorithm>
#include <vector>

#include "kernels/cpu/ops.h"

namespace gsplit::cpu {
namespace {

using cover_rules::Graph;

constexpr RowIndex kNone = ~RowIndex{0};

/// A range of nodes of one side.
struct Side {
  RowIndex begin;
  RowIndex end;
};

class PartCover {
 public:
  /// `taken`: (nodes), zero for those of the part; becomes 1 for the cover.
  PartCover(const Graph& graph, const BipartitePart& part, std::uint32_t* taken)
      : graph_(graph),
        lefts_{part.left_begin, part.left_end},
        rights_{graph.num_lefts + part.right_begin, graph.num_lefts + part.right_end},
        taken_(taken),
        first_left_(lefts_.begin),
        first_right_(rights_.begin - (lefts_.end - lefts_.begin)),
        degrees_((lefts_.end - lefts_.begin) + (rights_.end - rights_.begin)) {}

  void run() {
    const RowIndex largest = count_degrees();
    peel();
    for (RowIndex least = largest; least >= cover_rules::kLastThreshold;
         least = cover_rules::next_threshold(least)) {
      for (const Side& side : {lefts_, rights_}) {
        take_from(side, least);
        peel();
      }
    }
    drop_redundant();
    take_smaller_side();
    if (size() > 2 * peels_) take_matched_nodes();
  }

 private:
  /// Of a node while edges go, by place in the part.
  RowIndex& degree(RowIndex node) {
    return degrees_[node - (graph_.is_left(node) ? first_left_ : first_right_)];
  }

  template <class F>
  void for_neighbors(RowIndex node, F&& body) const {
    for (RowIndex e = graph_.begin(node); e < graph_.end(node); ++e) body(graph_.neighbor(node, e));
  }
  template <class F>
  void for_nodes(F&& body) const {
    for (const Side& side : {lefts_, rights_}) {
      for (RowIndex node = side.begin; node < side.end; ++node) body(node);
    }
  }

  RowIndex count_degrees() {
    RowIndex largest = 0;
    for_nodes([&](RowIndex node) {
      degree(node) = graph_.degree(node);
      largest = std::max(largest, degree(node));
      if (degree(node) == 1) single_.push_back(node);
    });
    return largest;
  }

  void take(RowIndex node) {
    if (taken_[node] != 0) return;
    taken_[node] = 1;
    fresh_.push_back(node);
  }

  /// Ends a round: the edges of what it has taken go.
  void remove_edges() {
    for (const RowIndex node : fresh_) {
      for_neighbors(node, [&](RowIndex neighbor) {
        if (taken_[neighbor] == 0 && --degree(neighbor) == 1) single_.push_back(neighbor);
      });
    }
    fresh_.clear();
  }

  void peel() {
    while (!single_.empty()) {
      std::vector<RowIndex> round;
      round.swap(single_);
      for (const RowIndex node : round) take_neighbor_of(node);
      peels_ += fresh_.size();
      remove_edges();
    }
  }

  /// REQUIRES: the node has at most one edge left.
  void take_neighbor_of(RowIndex node) {
    if (taken_[node] != 0 || degree(node) != 1) return;
    for_neighbors(node, [&](RowIndex neighbor) {
      if (taken_[neighbor] != 0) return;
      if (degree(neighbor) == 1 && graph_.is_left(neighbor)) return;
      take(neighbor);
    });
  }

  void take_from(const Side& side, RowIndex least) {
    for (RowIndex node = side.begin; node < side.end; ++node) {
      if (taken_[node] == 0 && degree(node) >= least) take(node);
    }
    remove_edges();
  }

  void drop_redundant() {
    for_nodes([&](RowIndex node) {
      bool needed = taken_[node] == 0;
      for_neighbors(node, [&](RowIndex neighbor) { needed |= taken_[neighbor] == 0; });
      if (!needed) taken_[node] = 0;
    });
  }

  std::size_t size() const {
    std::size_t nodes = 0;
    for_nodes([&](RowIndex node) { nodes += taken_[node]; });
    return nodes;
  }

  void take_smaller_side() {
    std::size_t lefts = 0, rights = 0;
    for_nodes([&](RowIndex node) {
      if (graph_.degree(node) > 0) ++(graph_.is_left(node) ? lefts : rights);
    });
    if (size() <= std::min(lefts, rights)) return;
    for_nodes([&](RowIndex node) {
      taken_[node] = graph_.degree(node) > 0 && graph_.is_left(node) == (lefts < rights) ? 1 : 0;
    });
  }

  void take_matched_nodes() {
    const std::vector<RowIndex> matched = maximal_matching();
    if (size() <= matched.size()) return;
    for_nodes([&](RowIndex node) { taken_[node] = 0; });
    for (const RowIndex node : matched) taken_[node] = 1;
    drop_redundant();
  }

  /// Returns the nodes of its edges.
  std::vector<RowIndex> maximal_matching() const {
    std::vector<RowIndex> matched, asking;
    std::vector<std::uint8_t> is_matched(rights_.end - rights_.begin, 0);
    std::vector<RowIndex> edges(graph_.left_offsets + lefts_.begin,
                                graph_.left_offsets + lefts_.end);  // the next, by left
    const auto asks_matched = [&](RowIndex left) -> std::uint8_t& {
      const RowIndex right = graph_.neighbor(left, edges[left - lefts_.begin]);
      return is_matched[right - rights_.begin];
    };
    for (RowIndex left = lefts_.begin; left < lefts_.end; ++left) asking.push_back(left);
    while (!asking.empty()) {
      std::erase_if(asking, [&](RowIndex left) {
        RowIndex& edge = edges[left - lefts_.begin];
        while (edge < graph_.end(left) && asks_matched(left) != 0) ++edge;
        return edge == graph_.end(left);
      });
      // They ascend, so the first that asks is the smallest.
      std::erase_if(asking, [&](RowIndex left) {
        if (asks_matched(left) != 0) return false;
        asks_matched(left) = 1;
        matched.insert(matched.end(), {left, graph_.neighbor(left, edges[left - lefts_.begin])});
        return true;
      });
    }
    return matched;
  }

  const Graph& graph_;
  Side lefts_;
  Side rights_;
  std::uint32_t* taken_;
  RowIndex first_left_;   // what a left's number exceeds its place by
  RowIndex first_right_;  // and a right's
  std::vector<RowIndex> degrees_;
  std::vector<RowIndex> single_;  // nodes that have come to one edge
  std::vector<RowIndex> fresh_;   // taken in this round
  std::size_t peels_ = 0;
};

}  // namespace

CoveredNodes cover(const CoverArgs& args, Memory& memory, const Team& team) {
  const std::size_t num_lefts = args.left_offsets.size() - 1;
  const std::size_t num_rights = args.right_offsets.size() - 1;
  const Graph graph{args.left_offsets.data(), args.rights.data(), args.right_offsets.data(),
                    args.lefts.data(), static_cast<RowIndex>(num_lefts)};
  std::vector<std::uint32_t> taken(num_lefts + num_rights, 0);
  for_ranges(team, static_cast<std::int64_t>(args.parts.size()), 1,
             [&](std::int64_t begin, std::int64_t) {
               PartCover(graph, args.parts[static_cast<std::size_t>(begin)], taken.data()).run();
             });
  CoveredNodes covered{{memory, num_lefts}, {memory, num_rights}};
  const auto middle = taken.begin() + static_cast<std::ptrdiff_t>(num_lefts);
  std::copy(taken.begin(), middle, covered.lefts.data());
  std::copy(middle, taken.end(), covered.rights.data());
  return covered;
}

}  // namespace gsplit::cpu
