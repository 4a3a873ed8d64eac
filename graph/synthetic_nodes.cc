#include "graph/synthetic_nodes.h"

#include <omp.h>

#include <algorithm>
#include <atomic>
#include <cmath>
#include <numbers>
#include <numeric>
#include <string>

#include "graph/features.h"
#include "graph/parallel_sort.h"

namespace gsplit {
namespace {

constexpr double kSignal = 0.5;
constexpr double kNoise = 2.0;

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

std::uint64_t share_of(std::uint64_t nodes, double share) {
  return static_cast<std::uint64_t>(std::llround(static_cast<double>(nodes) * share));
}

void require(bool holds, const std::string& fault, const std::string& remedy) {
  if (!holds) throw UsageError(fault, remedy);
}

LabeledNodes with_classes(std::vector<std::uint64_t> nodes,
                          std::span<const std::uint32_t> class_of) {
  LabeledNodes split;
  split.nodes = std::move(nodes);
  for (const std::uint64_t node : split.nodes) {
    split.labels.push_back(static_cast<std::int32_t>(class_of[node]));
  }
  return split;
}

/// How many nodes have each degree that occurs, and how many a smaller one.
struct DegreeHistogram {
  std::vector<std::uint32_t> degrees;  // ascending
  std::vector<std::uint64_t> below;    // (degrees + 1)
};

DegreeHistogram histogram_of(std::span<const std::uint32_t> degrees) {
  std::vector<std::uint32_t> sorted(degrees.begin(), degrees.end());
  std::sort(sorted.begin(), sorted.end());
  DegreeHistogram histogram;
  for (std::size_t i = 0; i < sorted.size(); ++i) {
    if (i > 0 && sorted[i] == sorted[i - 1]) continue;
    histogram.degrees.push_back(sorted[i]);
    histogram.below.push_back(i);
  }
  histogram.below.push_back(sorted.size());
  return histogram;
}

}  // namespace

DrawKey generator_key(std::uint64_t seed, GeneratorStream stream, std::uint32_t round) {
  return {.seed = seed,
          .step = round,
          .purpose = Purpose::kGenerator,
          .layer = static_cast<std::uint32_t>(stream)};
}

void check_split_shares(std::uint64_t nodes, const SplitShares& shares) {
  const char* const flags = "correct --train-share, --validation-share, --test-share or --split";
  double sum = 0;
  for (const double share : {shares.train, shares.validation, shares.test}) {
    require(share >= 0 && share <= 1, "a split's share is not in [0, 1]", flags);
    sum += share;
  }
  require(sum <= 1 + 1e-9, "the splits' shares sum to " + std::to_string(sum), flags);
  require(share_of(nodes, shares.train) > 0, "no node would be a training node",
          "raise --train-share, the first share of --split, or the number of nodes");
}

SplitNodes draw_splits(std::span<const std::uint32_t> candidates, const SplitShares& shares,
                       std::uint64_t seed, int threads) {
  std::vector<std::uint64_t> keys(candidates.size());
  const DrawKey key = generator_key(seed, GeneratorStream::kSplit);
#pragma omp parallel for num_threads(threads) schedule(static)
  for (std::size_t i = 0; i < keys.size(); ++i) {
    keys[i] = join(draw(key, candidates[i], 0).word[0], candidates[i]);
  }
  parallel_sort(keys, threads);
  std::span<const std::uint64_t> rest(keys);
  const auto take = [&](double share) {
    const std::size_t count = std::min<std::size_t>(share_of(keys.size(), share), rest.size());
    std::vector<std::uint64_t> nodes(rest.begin(),
                                     rest.begin() + static_cast<std::ptrdiff_t>(count));
    for (std::uint64_t& node : nodes) node &= 0xFFFFFFFFu;
    std::sort(nodes.begin(), nodes.end());
    rest = rest.subspan(count);
    return nodes;
  };
  SplitNodes splits;
  splits.train = take(shares.train);
  splits.validation = take(shares.validation);
  splits.test = take(shares.test);
  return splits;
}

void split_by_class(std::span<const std::uint32_t> class_of, const SplitShares& shares,
                    std::uint64_t seed, int threads, DatasetArrays& arrays) {
  std::vector<std::uint32_t> all(class_of.size());
  std::iota(all.begin(), all.end(), 0u);
  SplitNodes splits = draw_splits(all, shares, seed, threads);
  arrays.train = with_classes(std::move(splits.train), class_of);
  arrays.validation = with_classes(std::move(splits.validation), class_of);
  arrays.test = with_classes(std::move(splits.test), class_of);
}

void write_synthetic_features(const std::filesystem::path& path,
                              std::span<const std::uint32_t> class_of,
                              const SyntheticFeatures& features, int threads) {
  const std::size_t width = features.width;
  std::vector<float> centres(features.classes * width);
  for (std::uint64_t c = 0; c < features.classes; ++c) {
    draw_normals(generator_key(features.seed, GeneratorStream::kCentre), c,
                 std::span(centres).subspan(c * width, width));
  }
  NpyWriter file(path, npy_type(features.dtype), {class_of.size(), width});
  const std::size_t row_bytes = width * size_of(features.dtype);
#pragma omp parallel for num_threads(threads) schedule(static)
  for (std::uint64_t v = 0; v < class_of.size(); ++v) {
    std::vector<float> row(width);
    draw_normals(generator_key(features.seed, GeneratorStream::kNoise), v, row);
    const float* centre = &centres[class_of[v] * width];
    for (std::size_t f = 0; f < width; ++f) {
      row[f] = static_cast<float>(kSignal) * centre[f] + static_cast<float>(kNoise) * row[f];
    }
    // No normal variate made of 32 bits is above 7: fp16 holds them all.
    narrow(row, features.dtype, file.bytes().subspan(v * row_bytes, row_bytes));
  }
  file.close();
}

std::vector<std::uint32_t> degree_classes(std::span<const std::uint32_t> in_degrees,
                                          std::uint64_t classes, std::uint64_t seed, int threads) {
  const DegreeHistogram histogram = histogram_of(in_degrees);
  const DrawKey key = generator_key(seed, GeneratorStream::kDegreeClass);
  const double scale = static_cast<double>(classes) / static_cast<double>(in_degrees.size());
  std::vector<std::uint32_t> class_of(in_degrees.size());
#pragma omp parallel for num_threads(threads) schedule(static)
  for (std::size_t v = 0; v < in_degrees.size(); ++v) {
    const auto found =
        std::lower_bound(histogram.degrees.begin(), histogram.degrees.end(), in_degrees[v]);
    const auto d = static_cast<std::size_t>(found - histogram.degrees.begin());
    const auto equal = static_cast<double>(histogram.below[d + 1] - histogram.below[d]);
    const double rank =
        static_cast<double>(histogram.below[d]) + equal * unit_interval(draw(key, v, 0).word[0]);
    class_of[v] =
        std::min(static_cast<std::uint32_t>(rank * scale), static_cast<std::uint32_t>(classes - 1));
  }
  return class_of;
}

std::vector<std::uint32_t> count_in_degrees(const NpyArray& ends, std::uint64_t num_nodes,
                                            int threads) {
  std::vector<std::uint32_t> degrees(num_nodes);
  ends.visit_integers([&](auto ids) {
    const auto destinations = ids.last(ids.size() / 2);
#pragma omp parallel for num_threads(threads) schedule(static)
    for (std::size_t e = 0; e < destinations.size(); ++e) {
      std::atomic_ref(degrees[static_cast<std::size_t>(destinations[e])])
          .fetch_add(1, std::memory_order_relaxed);
    }
  });
  return degrees;
}

}  // namespace gsplit
