// The stochastic block model in four parts: classes and degree weights of the nodes; unique edges,
// drawn in rounds; features; splits. Each random value is a pure function of (seed, stream, who,
// index), so that threads share the work in any way they like.
#include <omp.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <numbers>
#include <numeric>

#include "graph/dataset.h"
#include "graph/generate.h"
#include "graph/parallel_sort.h"
#include "graph/staged_directory.h"
#include "graph/synthetic_nodes.h"
#include "kernels/base/philox.h"

namespace gsplit {
namespace {

constexpr double kParetoExponent = 2.3;  // of the density; the tail falls with 1.3
constexpr double kShareInside = 0.75;
constexpr double kHubShare = 1.0 / 30;  // largest expected degree / nodes
constexpr std::uint32_t kMaxRounds = 100;
constexpr std::uint64_t kMaxNodes = std::uint64_t{1} << 32;  // two ids fit a 64-bit key

/// Uniform integer in [0, range) by multiply-high.
std::uint64_t bounded64(std::uint64_t random, std::uint64_t range) {
  __extension__ using Wide = unsigned __int128;
  return static_cast<std::uint64_t>((Wide{random} * range) >> 64);
}

/// Upper ends of the classes' shares of [0, 2^32): Dirichlet(2) as normalised Gamma(2) variates,
/// each the sum of two exponentials.
std::vector<std::uint64_t> draw_class_bounds(const SbmOptions& options) {
  std::vector<double> cumulative(options.classes);
  double sum = 0;
  for (std::uint64_t c = 0; c < options.classes; ++c) {
    const PhiloxBlock random =
        draw(generator_key(options.seed, GeneratorStream::kClassShare), c, 0);
    sum -= std::log(positive_unit(random.word[0]) * positive_unit(random.word[1]));
    cumulative[c] = sum;
  }
  std::vector<std::uint64_t> bounds(options.classes);
  for (std::uint64_t c = 0; c < options.classes; ++c) {
    bounds[c] = static_cast<std::uint64_t>(std::llround(cumulative[c] / sum * 0x1p32));
  }
  return bounds;
}

/// Mean of min(w, cap) for w of density proportional to w^-e on [1, inf): with tail a = e - 1,
/// (a - cap^(1-a)) / (a - 1).
double capped_pareto_mean(double cap) {
  const double tail = kParetoExponent - 1;
  return (tail - std::pow(cap, 1 - tail)) / (tail - 1);
}

/// Cap of the weights at which the largest expected degree, degree x cap / mean, is nodes / 30, or
/// twice the mean degree in graphs that are too small for that. Bisection: cap / mean rises.
double weight_cap(const SbmOptions& options) {
  const double target =
      std::max(kHubShare * static_cast<double>(options.nodes) / options.degree, 2.0);
  double low = 1;
  double high = 0x1p32;
  for (int i = 0; i < 100; ++i) {
    const double middle = (low + high) / 2;
    (middle / capped_pareto_mean(middle) < target ? low : high) = middle;
  }
  return high;
}

/// Nodes ordered by class, with their cumulative degree weights: a random number below a weight is
/// a node, and a class is an interval of weights.
struct NodeTable {
  std::vector<std::uint32_t> class_of;       ///< (nodes), by id
  std::vector<std::uint64_t> class_begin;    ///< (classes + 1): positions
  std::vector<std::uint32_t> node_at;        ///< (nodes): id at a position
  std::vector<std::uint64_t> weight_before;  ///< (nodes + 1): fixed-point weights before a position

  std::uint64_t total_weight() const { return weight_before.back(); }
};

constexpr double kWeightUnit = 0x1p16;  // fixed point: sums stay below 2^63 and exact

/// Class of each node, and its weight at [id + 1] of the result's weight_before.
void draw_nodes(const SbmOptions& options, int threads, NodeTable& table,
                std::vector<std::uint64_t>& weight) {
  const std::vector<std::uint64_t> bounds = draw_class_bounds(options);
  const double cap = weight_cap(options);
  const DrawKey key = generator_key(options.seed, GeneratorStream::kNode);
#pragma omp parallel for num_threads(threads) schedule(static)
  for (std::uint64_t v = 0; v < options.nodes; ++v) {
    const PhiloxBlock random = draw(key, v, 0);
    const auto upper = std::upper_bound(bounds.begin(), bounds.end(), random.word[0]);
    const auto drawn = static_cast<std::uint64_t>(upper - bounds.begin());
    table.class_of[v] = static_cast<std::uint32_t>(std::min(drawn, options.classes - 1));
    const double pareto = std::pow(positive_unit(random.word[1]), -1 / (kParetoExponent - 1));
    weight[v] = static_cast<std::uint64_t>(std::llround(std::min(pareto, cap) * kWeightUnit));
  }
}

NodeTable make_node_table(const SbmOptions& options, int threads) {
  NodeTable table;
  table.class_of.resize(options.nodes);
  std::vector<std::uint64_t> weight(options.nodes);
  draw_nodes(options, threads, table, weight);
  table.class_begin.assign(options.classes + 1, 0);
  for (const std::uint32_t c : table.class_of) ++table.class_begin[c + 1];
  std::partial_sum(table.class_begin.begin(), table.class_begin.end(), table.class_begin.begin());
  table.node_at.resize(options.nodes);
  std::vector<std::uint64_t> next(table.class_begin.begin(), table.class_begin.end() - 1);
  for (std::uint64_t v = 0; v < options.nodes; ++v) {
    table.node_at[next[table.class_of[v]]++] = static_cast<std::uint32_t>(v);
  }
  table.weight_before.resize(options.nodes + 1);
  for (std::uint64_t i = 0; i < options.nodes; ++i) {
    table.weight_before[i + 1] = table.weight_before[i] + weight[table.node_at[i]];
  }
  return table;
}

/// Draws nodes by weight in constant expected time: one bucket of equal weight a node says where
/// the search begins (the indexed search of H. Chen and Y. Asau, 1974).
class NodeSampler {
 public:
  explicit NodeSampler(const NodeTable& table)
      : table_(table),
        first_(table.node_at.size() + 1),
        width_(table.total_weight() / table.node_at.size() + 1) {
    std::uint32_t position = 0;
    for (std::uint64_t bucket = 0; bucket < first_.size(); ++bucket) {
      while (position + 1 < table.node_at.size() &&
             table.weight_before[position + 1] <= bucket * width_) {
        ++position;
      }
      first_[bucket] = position;
    }
  }

  /// The node whose interval of weights holds `weight`, below the total.
  std::uint32_t at(std::uint64_t weight) const {
    std::uint32_t position = first_[weight / width_];
    while (table_.weight_before[position + 1] <= weight) ++position;
    return table_.node_at[position];
  }

  struct Interval {
    std::uint64_t begin, size;
  };
  /// The weights of the class of `node`.
  Interval class_of(std::uint32_t node) const {
    const std::uint32_t c = table_.class_of[node];
    const std::uint64_t begin = table_.weight_before[table_.class_begin[c]];
    return {begin, table_.weight_before[table_.class_begin[c + 1]] - begin};
  }
  std::uint64_t total() const { return table_.total_weight(); }

 private:
  const NodeTable& table_;
  std::vector<std::uint32_t> first_;  // (buckets): position that holds the bucket's first weight
  std::uint64_t width_;
};

/// An undirected pair as one number, the smaller node in the upper half.
std::uint64_t pair_key(std::uint32_t u, std::uint32_t v) {
  return join(std::min(u, v), std::max(u, v));
}

/// The first node by weight among all, the second by weight within the first one's class (kInside)
/// or outside it (kAcross).
std::uint64_t draw_pair(const NodeSampler& nodes, const DrawKey& key, std::uint64_t index) {
  const PhiloxBlock random = draw(key, index, 0);
  const std::uint32_t u = nodes.at(bounded64(join(random.word[0], random.word[1]), nodes.total()));
  const NodeSampler::Interval own = nodes.class_of(u);
  const std::uint64_t second = join(random.word[2], random.word[3]);
  if (key.layer == static_cast<std::uint32_t>(GeneratorStream::kInside)) {
    return pair_key(u, nodes.at(own.begin + bounded64(second, own.size)));
  }
  if (own.size == nodes.total()) return pair_key(u, u);  // nobody outside: counts as a self-loop
  const std::uint64_t weight = bounded64(second, nodes.total() - own.size);
  return pair_key(u, nodes.at(weight < own.begin ? weight : weight + own.size));
}

/// `count` draws of one round: sorted, without self-loops and duplicates.
std::vector<std::uint64_t> draw_round(const NodeSampler& nodes, const DrawKey& key,
                                      std::uint64_t count, int threads) {
  std::vector<std::uint64_t> pairs(count);
#pragma omp parallel for num_threads(threads) schedule(static)
  for (std::uint64_t i = 0; i < count; ++i) pairs[i] = draw_pair(nodes, key, i);
  std::erase_if(pairs, [](std::uint64_t pair) { return (pair >> 32) == (pair & 0xFFFFFFFFu); });
  parallel_sort(pairs, threads);
  pairs.erase(std::unique(pairs.begin(), pairs.end()), pairs.end());
  return pairs;
}

/// Exactly `count` distinct pairs, sorted: each round draws what the earlier ones lack.
std::vector<std::uint64_t> draw_pairs(const SbmOptions& options, const NodeSampler& nodes,
                                      GeneratorStream stream, std::uint64_t count, int threads) {
  std::vector<std::uint64_t> pairs;
  for (std::uint32_t round = 0; pairs.size() < count; ++round) {
    if (round == kMaxRounds) {
      throw UsageError("the graph is too dense: only " + std::to_string(pairs.size()) + " of " +
                           std::to_string(count) + " pairs " +
                           (stream == GeneratorStream::kInside ? "within" : "between") +
                           " classes could be placed",
                       "lower --degree or --classes, or raise --nodes");
    }
    const std::vector<std::uint64_t> drawn = draw_round(
        nodes, generator_key(options.seed, stream, round), count - pairs.size(), threads);
    std::vector<std::uint64_t> merged;
    merged.reserve(pairs.size() + drawn.size());
    std::set_union(pairs.begin(), pairs.end(), drawn.begin(), drawn.end(),
                   std::back_inserter(merged));
    pairs = std::move(merged);
  }
  return pairs;
}

/// The undirected edges, sorted.
std::vector<std::uint64_t> draw_edges(const SbmOptions& options, const NodeTable& table,
                                      int threads) {
  const NodeSampler nodes(table);
  const auto pairs = static_cast<std::uint64_t>(
      std::llround(static_cast<double>(options.nodes) * options.degree / 2));
  const bool one_class = nodes.class_of(0).size == nodes.total();
  const std::uint64_t inside =
      one_class
          ? pairs
          : static_cast<std::uint64_t>(std::llround(static_cast<double>(pairs) * kShareInside));
  std::vector<std::uint64_t> edges =
      draw_pairs(options, nodes, GeneratorStream::kInside, inside, threads);
  const std::vector<std::uint64_t> across =
      draw_pairs(options, nodes, GeneratorStream::kAcross, pairs - inside, threads);
  edges.insert(edges.end(), across.begin(), across.end());
  std::inplace_merge(edges.begin(), edges.begin() + static_cast<std::ptrdiff_t>(inside),
                     edges.end());
  return edges;
}

/// Both directions: the pairs (u, v), then the pairs (v, u).
template <class Id>
void write_edges(const std::filesystem::path& path, const std::vector<std::uint64_t>& pairs,
                 int threads) {
  const std::size_t count = pairs.size();
  NpyWriter file(path, npy_type_of<Id>::value, {2, 2 * count});
  const auto ends = file.as<Id>();
#pragma omp parallel for num_threads(threads) schedule(static)
  for (std::size_t i = 0; i < count; ++i) {
    const auto u = static_cast<Id>(pairs[i] >> 32);
    const auto v = static_cast<Id>(pairs[i] & 0xFFFFFFFFu);
    ends[i] = ends[3 * count + i] = u;
    ends[count + i] = ends[2 * count + i] = v;
  }
  file.close();
}

void require(bool holds, const std::string& fault, const std::string& remedy) {
  if (!holds) throw UsageError(fault, remedy);
}

void check_options(const SbmOptions& options) {
  require(options.nodes >= 2 && options.nodes <= kMaxNodes,
          "--nodes is " + std::to_string(options.nodes), "give 2 to " + std::to_string(kMaxNodes));
  require(options.degree > 0 && options.degree < static_cast<double>(options.nodes),
          "--degree is " + std::to_string(options.degree),
          "give a number above 0 and below --nodes");
  require(options.features >= 1 && options.features <= kMaxSyntheticFeatures,
          "--features is " + std::to_string(options.features),
          "give 1 to " + std::to_string(kMaxSyntheticFeatures));
  require(options.classes >= 1 && options.classes <= options.nodes &&
              options.classes <= std::numeric_limits<std::int32_t>::max(),
          "--classes is " + std::to_string(options.classes), "give 1 to --nodes");
  check_split_shares(options.nodes, options.splits());
}

}  // namespace

void generate_sbm(const SbmOptions& options, const std::filesystem::path& directory, int threads) {
  check_options(options);
  StagedDirectory staged(directory);
  const NodeTable table = make_node_table(options, threads);
  const std::vector<std::uint64_t> pairs = draw_edges(options, table, threads);
  if (options.nodes <= std::numeric_limits<std::int32_t>::max()) {
    write_edges<std::int32_t>(staged.path() / "edges.npy", pairs, threads);
  } else {
    write_edges<std::int64_t>(staged.path() / "edges.npy", pairs, threads);
  }
  write_synthetic_features(staged.path() / "feat.npy", table.class_of,
                           {.width = options.features,
                            .dtype = options.feature_dtype,
                            .classes = options.classes,
                            .seed = options.seed},
                           threads);
  DatasetArrays arrays{.name = "sbm", .num_nodes = options.nodes, .num_classes = options.classes};
  split_by_class(table.class_of, options.splits(), options.seed, threads, arrays);
  write_dataset_metadata(staged.path(), arrays);
  staged.commit();
}

}  // namespace gsplit
