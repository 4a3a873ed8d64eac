#include "partition/metis.h"

#include <fmt/format.h>
#include <metis.h>

#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <limits>
#include <numeric>
#include <utility>

#include "kernels/base/error.h"

// METIS draws from rand(), which in the C library is one sequence of the whole process: other
// threads that draw meanwhile (gRPC's do) would change the partition. These take the library's
// place for the program and all it links with: a sequence for each thread (G. Steele et al.,
// "Fast splittable pseudorandom number generators", OOPSLA 2014).
namespace {
thread_local std::uint64_t random_state = 1;
}

extern "C" void srand(unsigned seed) noexcept { random_state = seed; }

extern "C" int rand() noexcept {
  random_state += 0x9E3779B97F4A7C15u;
  std::uint64_t mixed = random_state;
  mixed = (mixed ^ (mixed >> 30)) * 0xBF58476D1CE4E5B9u;
  mixed = (mixed ^ (mixed >> 27)) * 0x94D049BB133111EBu;
  return static_cast<int>((mixed ^ (mixed >> 31)) >> 33);  // 31 bits: RAND_MAX
}

namespace gsplit {
namespace {

static_assert(RAND_MAX == 0x7FFFFFFF);
static_assert(sizeof(idx_t) == sizeof(std::int32_t), "written for METIS with 32-bit integers");

constexpr std::uint64_t kMaxSum = std::numeric_limits<std::int32_t>::max();

}  // namespace

Assignment metis_kway(SymmetricGraph& graph, BalancedLoads& loads, const KwayOptions& options) {
  GSPLIT_CHECK(options.parts > 1);
  idx_t settings[METIS_NOPTIONS];
  METIS_SetDefaultOptions(settings);
  settings[METIS_OPTION_NUMBERING] = 0;
  settings[METIS_OPTION_SEED] = static_cast<idx_t>(options.seed & 0x7FFFFFFFu);
  idx_t nodes = static_cast<idx_t>(graph.xadj.size() - 1), parts = options.parts, cut = 0;
  std::vector<real_t> imbalance(static_cast<std::size_t>(loads.constraints), kMetisImbalance);
  std::vector<idx_t> part(graph.xadj.size() - 1);
  const int status = METIS_PartGraphKway(
      &nodes, &loads.constraints, graph.xadj.data(), graph.adjncy.data(), loads.values.data(),
      nullptr, graph.adjwgt.data(), &parts, nullptr, imbalance.data(), settings, &cut, part.data());
  if (status == METIS_OK) return Assignment(part.begin(), part.end());
  throw SystemError(fmt::format("METIS {} on {} nodes and {} edges",
                                status == METIS_ERROR_MEMORY ? "ran out of memory" : "failed",
                                nodes, graph.adjncy.size() / 2),
                    "free memory or choose --method stream");
}

void check_metis_limits(std::uint64_t nodes, std::uint64_t entries) {
  // Rounding loads up adds at most one a node to their sum: see scale_loads.
  if (nodes <= kMaxSum / 2 && entries <= kMaxSum) return;
  throw UsageError(
      fmt::format("the symmetrised graph has {} nodes and {} adjacency entries (2 an edge), but "
                  "METIS's 32-bit integers end at {} and {}",
                  nodes, entries, kMaxSum / 2, kMaxSum),
      "choose --method stream");
}

template <class Weight>
void scale_edge_weights(std::span<const Weight> weights, std::span<std::int32_t> scaled) {
  const double total = std::accumulate(weights.begin(), weights.end(), 0.0);
  const double room = static_cast<double>(kMaxSum - weights.size());
  const double scale = total <= room ? 1.0 : room / total * (1 - 1e-9);
  std::transform(weights.begin(), weights.end(), scaled.begin(), [scale](Weight weight) {
    return 1 + static_cast<std::int32_t>(static_cast<double>(weight) * scale);
  });
}

template void scale_edge_weights(std::span<const std::int32_t>, std::span<std::int32_t>);
template void scale_edge_weights(std::span<const std::uint64_t>, std::span<std::int32_t>);

BalancedLoads scale_loads(std::span<const std::uint64_t> loads, std::size_t constraints) {
  const std::size_t nodes = loads.size() / constraints;
  // Rounding up keeps small loads and adds less than one a node, for which room is left.
  const double limit = static_cast<double>(kMaxSum - nodes);
  std::vector<std::pair<std::size_t, double>> scales;  // constraint, factor
  for (std::size_t c = 0; c < constraints; ++c) {
    double total = 0;
    for (std::size_t i = c; i < loads.size(); i += constraints) {
      total += static_cast<double>(loads[i]);
    }
    if (total > 0) scales.emplace_back(c, total <= limit ? 1.0 : limit / total * (1 - 1e-9));
  }
  if (scales.empty()) return {.constraints = 1, .values = std::vector<std::int32_t>(nodes, 1)};
  BalancedLoads scaled{.constraints = static_cast<std::int32_t>(scales.size()), .values = {}};
  scaled.values.reserve(nodes * scales.size());
  for (std::size_t v = 0; v < nodes; ++v) {
    for (const auto& [c, scale] : scales) {
      const auto load = static_cast<double>(loads[v * constraints + c]);
      scaled.values.push_back(static_cast<std::int32_t>(std::ceil(load * scale)));
    }
  }
  return scaled;
}

}  // namespace gsplit
