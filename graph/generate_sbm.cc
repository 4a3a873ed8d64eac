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
#include "kernels/base/philox.h"

namespace gsplit {
namespace {

constexpr double kParetoExponent = 2.3;  // of the density; the tail falls with 1.3
constexpr double kShareInside = 0.75;
constexpr double kHubShare = 1.0 / 30;  // largest expected degree / nodes
constexpr double kSignal = 0.5;
constexpr double kNoise = 2.0;
constexpr std::uint32_t kMaxRounds = 100;
constexpr std::uint64_t kMaxNodes = std::uint64_t{1} << 32;     // two ids fit a 64-bit key
constexpr std::uint64_t kMaxFeatures = std::uint64_t{1} << 20;  // Philox counts 4 x 2^20 of them

/// Sub-streams of the generator: the `layer` field of the counter. The numbers are part of the
/// reproducibility promise.
enum class SubStream : std::uint32_t {
  kClassShare = 0,
  kNode = 1,
  kInside = 2,
  kAcross = 3,
  kCentre = 4,
  kNoise = 5,
  kSplit = 6,
};

DrawKey key_of(std::uint64_t seed, SubStream stream, std::uint32_t round = 0) {
  return {.seed = seed,
          .step = round,
          .purpose = Purpose::kGenerator,
          .layer = static_cast<std::uint32_t>(stream)};
}

/// In (0, 1], so that its logarithm is finite.
double positive_unit(std::uint32_t random) { return (random + 1.0) * 0x1p-32; }

std::uint64_t join(std::uint32_t high, std::uint32_t low) {
  return (std::uint64_t{high} << 32) | low;
}

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
    const PhiloxBlock random = draw(key_of(options.seed, SubStream::kClassShare), c, 0);
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
  const DrawKey key = key_of(options.seed, SubStream::kNode);
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
  if (key.layer == static_cast<std::uint32_t>(SubStream::kInside)) {
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
                                      SubStream stream, std::uint64_t count, int threads) {
  std::vector<std::uint64_t> pairs;
  for (std::uint32_t round = 0; pairs.size() < count; ++round) {
    if (round == kMaxRounds) {
      throw UsageError("the graph is too dense: only " + std::to_string(pairs.size()) + " of " +
                           std::to_string(count) + " pairs " +
                           (stream == SubStream::kInside ? "within" : "between") +
                           " classes could be placed",
                       "lower --degree or --classes, or raise --nodes");
    }
    const std::vector<std::uint64_t> drawn =
        draw_round(nodes, key_of(options.seed, stream, round), count - pairs.size(), threads);
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
      draw_pairs(options, nodes, SubStream::kInside, inside, threads);
  const std::vector<std::uint64_t> across =
      draw_pairs(options, nodes, SubStream::kAcross, pairs - inside, threads);
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

/// Standard normal variates number 0.. of `who` (G. Box and M. Muller, Ann. Math. Stat. 29, 1958).
void draw_normals(const DrawKey& key, std::uint64_t who, std::span<float> out) {
  for (std::size_t i = 0; i < out.size(); i += 4) {
    const PhiloxBlock random = draw(key, who, static_cast<std::uint32_t>(i / 4));
    float normal[4];
    for (int pair = 0; pair < 4; pair += 2) {
      const double radius = std::sqrt(-2 * std::log(positive_unit(random.word[pair])));
      const double angle = 2 * std::numbers::pi * unit_interval(random.word[pair + 1]);
      normal[pair] = static_cast<float>(radius * std::cos(angle));
      normal[pair + 1] = static_cast<float>(radius * std::sin(angle));
    }
    std::copy_n(normal, std::min<std::size_t>(4, out.size() - i),
                out.begin() + static_cast<std::ptrdiff_t>(i));
  }
}

void write_features(const std::filesystem::path& path, const SbmOptions& options,
                    const std::vector<std::uint32_t>& class_of, int threads) {
  const std::size_t width = options.features;
  std::vector<float> centres(options.classes * width);
  for (std::uint64_t c = 0; c < options.classes; ++c) {
    draw_normals(key_of(options.seed, SubStream::kCentre), c,
                 std::span(centres).subspan(c * width, width));
  }
  NpyWriter file(path, npy_type_of<float>::value, {options.nodes, width});
  const auto features = file.as<float>();
#pragma omp parallel for num_threads(threads) schedule(static)
  for (std::uint64_t v = 0; v < options.nodes; ++v) {
    const auto row = features.subspan(v * width, width);
    draw_normals(key_of(options.seed, SubStream::kNoise), v, row);
    const float* centre = &centres[class_of[v] * width];
    for (std::size_t f = 0; f < width; ++f) {
      row[f] = static_cast<float>(kSignal) * centre[f] + static_cast<float>(kNoise) * row[f];
    }
  }
  file.close();
}

std::uint64_t share_of(std::uint64_t nodes, double share) {
  return static_cast<std::uint64_t>(std::llround(static_cast<double>(nodes) * share));
}

/// The nodes of keys[begin, begin + count), ascending, with their classes.
LabeledNodes label_nodes(std::span<const std::uint64_t> keys,
                         const std::vector<std::uint32_t>& class_of) {
  LabeledNodes split;
  for (const std::uint64_t key : keys) split.nodes.push_back(key & 0xFFFFFFFFu);
  std::sort(split.nodes.begin(), split.nodes.end());
  for (const std::uint64_t node : split.nodes) {
    split.labels.push_back(static_cast<std::int32_t>(class_of[node]));
  }
  return split;
}

/// Cuts a random order of the nodes, by a random key each, into the three splits.
void draw_splits(const SbmOptions& options, const std::vector<std::uint32_t>& class_of, int threads,
                 DatasetArrays& arrays) {
  std::vector<std::uint64_t> keys(options.nodes);
#pragma omp parallel for num_threads(threads) schedule(static)
  for (std::uint64_t v = 0; v < options.nodes; ++v) {
    const PhiloxBlock random = draw(key_of(options.seed, SubStream::kSplit), v, 0);
    keys[v] = join(random.word[0], static_cast<std::uint32_t>(v));
  }
  parallel_sort(keys, threads);
  std::span<const std::uint64_t> rest(keys);
  const auto take = [&](double share) {
    const std::size_t count = std::min<std::size_t>(share_of(options.nodes, share), rest.size());
    const auto taken = rest.first(count);
    rest = rest.subspan(count);
    return label_nodes(taken, class_of);
  };
  arrays.train = take(options.train_share);
  arrays.validation = take(options.validation_share);
  arrays.test = take(options.test_share);
}

void require(bool holds, const std::string& fault, const std::string& remedy) {
  if (!holds) throw UsageError(fault, remedy);
}

void check_shares(const SbmOptions& options) {
  double sum = 0;
  for (const double share : {options.train_share, options.validation_share, options.test_share}) {
    require(share >= 0 && share <= 1, "a split's share is not in [0, 1]",
            "correct --train-share, --validation-share or --test-share");
    sum += share;
  }
  require(sum <= 1 + 1e-9, "the splits' shares sum to " + std::to_string(sum),
          "lower --train-share, --validation-share or --test-share");
  require(share_of(options.nodes, options.train_share) > 0, "no node would be a training node",
          "raise --train-share or --nodes");
}

void check_options(const SbmOptions& options) {
  require(options.nodes >= 2 && options.nodes <= kMaxNodes,
          "--nodes is " + std::to_string(options.nodes), "give 2 to " + std::to_string(kMaxNodes));
  require(options.degree > 0 && options.degree < static_cast<double>(options.nodes),
          "--degree is " + std::to_string(options.degree),
          "give a number above 0 and below --nodes");
  require(options.features >= 1 && options.features <= kMaxFeatures,
          "--features is " + std::to_string(options.features),
          "give 1 to " + std::to_string(kMaxFeatures));
  require(options.classes >= 1 && options.classes <= options.nodes &&
              options.classes <= std::numeric_limits<std::int32_t>::max(),
          "--classes is " + std::to_string(options.classes), "give 1 to --nodes");
  check_shares(options);
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
  write_features(staged.path() / "feat.npy", options, table.class_of, threads);
  DatasetArrays arrays{.name = "sbm", .num_nodes = options.nodes, .num_classes = options.classes};
  draw_splits(options, table.class_of, threads, arrays);
  write_dataset_metadata(staged.path(), arrays);
  staged.commit();
}

}  // namespace gsplit
