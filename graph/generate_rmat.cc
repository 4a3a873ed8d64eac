// R-MAT (D. Chakrabarti, Y. Zhan and C. Faloutsos, SDM 2004) with the parameters of Graph500: an
// edge falls into one quadrant of the adjacency matrix, then into a quadrant of that, until a cell
// is left. Draws are counted by (edge, attempt), so that threads share the edges in any way.
#include <omp.h>

#include <algorithm>
#include <bit>
#include <cmath>
#include <limits>
#include <string>

#include "graph/dataset.h"
#include "graph/generate.h"
#include "graph/staged_directory.h"
#include "kernels/base/philox.h"

namespace gsplit {
namespace {

constexpr std::uint64_t kMostNodes = std::uint64_t{1} << 32;
constexpr int kLevelsADraw = 8;          // a Philox block is 8 times 16 bits
constexpr std::uint32_t kMostDraws = 4;  // 32 levels
// Upper ends of the quadrants' shares of [0, 2^16): a = .57 (both halves low), b = .19 (column
// high), c = .19 (row high), d = .05.
constexpr std::uint32_t kEndA = 37355;
constexpr std::uint32_t kEndB = 49807;
constexpr std::uint32_t kEndC = 62259;

struct Cell {
  std::uint64_t row = 0;
  std::uint64_t column = 0;
};

/// One level down: the next bit of row and column, without branches that nobody can predict.
void descend(Cell& cell, std::uint32_t random16) {
  const bool above_a = random16 >= kEndA;
  const bool above_b = random16 >= kEndB;
  const bool above_c = random16 >= kEndC;
  cell.row = 2 * cell.row + above_b;
  cell.column = 2 * cell.column + (above_a != above_b || above_c);
}

Cell draw_cell(const DrawKey& key, std::uint64_t edge, std::uint32_t attempt, int levels) {
  Cell cell;
  for (int level = 0; level < levels; level += kLevelsADraw) {
    const auto index = attempt * kMostDraws + static_cast<std::uint32_t>(level / kLevelsADraw);
    const PhiloxBlock random = draw(key, edge, index);
    for (int i = 0; i < std::min(kLevelsADraw, levels - level); ++i) {
      descend(cell, (random.word[i / 2] >> (16 * (i % 2))) & 0xFFFFu);
    }
  }
  return cell;
}

/// A keyed bijection of [0, nodes), so that ids tell nothing about degrees: multiplications by odd
/// numbers and shifts permute the next power of two; what falls outside is permuted again (cycle
/// walking, J. Black and P. Rogaway, CT-RSA 2002).
class Scrambler {
 public:
  Scrambler(std::uint64_t nodes, int bits, std::uint64_t seed)
      : nodes_(nodes), mask_((std::uint64_t{1} << bits) - 1), shift_((bits + 1) / 2) {
    for (std::uint32_t round = 0; round < kRounds; ++round) {
      const PhiloxBlock random =
          draw(generator_key(seed, GeneratorStream::kRmatScramble), round, 0);
      factor_[round] = join(random.word[0], random.word[1]) | 1;
      offset_[round] = join(random.word[2], random.word[3]);
    }
  }

  std::uint64_t operator()(std::uint64_t id) const {
    do {
      for (std::uint32_t round = 0; round < kRounds; ++round) {
        id = (id * factor_[round] + offset_[round]) & mask_;
        id ^= id >> shift_;
      }
    } while (id >= nodes_);
    return id;
  }

 private:
  static constexpr std::uint32_t kRounds = 4;
  std::uint64_t nodes_;
  std::uint64_t mask_;
  int shift_;
  std::uint64_t factor_[kRounds];
  std::uint64_t offset_[kRounds];
};

/// The first cell of an edge's attempts that lies inside the matrix of `nodes` rows.
Cell draw_edge(const DrawKey& key, std::uint64_t edge, std::uint64_t nodes, int levels) {
  // Each attempt hits with more than (a + b) (a + c) = 0.57: a hundred thousand never miss.
  for (std::uint32_t attempt = 0;; ++attempt) {
    const Cell cell = draw_cell(key, edge, attempt, levels);
    if (cell.row < nodes && cell.column < nodes) return cell;
  }
}

template <class Id>
void write_edges(const std::filesystem::path& path, const RmatOptions& options, std::uint64_t edges,
                 int threads) {
  const int levels = std::bit_width(options.nodes - 1);
  const DrawKey key = generator_key(options.seed, GeneratorStream::kRmatEdge);
  const Scrambler scrambled(options.nodes, levels, options.seed);
  NpyWriter file(path, npy_type_of<Id>::value, {2, edges});
  const auto ends = file.as<Id>();
#pragma omp parallel for num_threads(threads) schedule(static)
  for (std::uint64_t e = 0; e < edges; ++e) {
    const Cell cell = draw_edge(key, e, options.nodes, levels);
    ends[e] = static_cast<Id>(scrambled(cell.row));
    ends[edges + e] = static_cast<Id>(scrambled(cell.column));
  }
  file.close();
}

void require(bool holds, const std::string& fault, const std::string& remedy) {
  if (!holds) throw UsageError(fault, remedy);
}

void check_options(const RmatOptions& options) {
  require(options.nodes >= 2 && options.nodes <= kMostNodes,
          "--nodes is " + std::to_string(options.nodes), "give 2 to " + std::to_string(kMostNodes));
  require(options.degree > 0 && options.degree <= 1e6,
          "--degree is " + std::to_string(options.degree),
          "give a number above 0, at most 1000000");
  require(options.features >= 1 && options.features <= kMaxSyntheticFeatures,
          "--features is " + std::to_string(options.features),
          "give 1 to " + std::to_string(kMaxSyntheticFeatures));
  require(options.classes >= 1 && options.classes <= options.nodes &&
              options.classes <= std::numeric_limits<std::int32_t>::max(),
          "--classes is " + std::to_string(options.classes), "give 1 to --nodes");
  check_split_shares(options.nodes, options.splits);
}

}  // namespace

void generate_rmat(const RmatOptions& options, const std::filesystem::path& directory,
                   int threads) {
  check_options(options);
  StagedDirectory staged(directory);
  const std::filesystem::path edge_file = staged.path() / "edges.npy";
  const auto edges =
      static_cast<std::uint64_t>(std::llround(static_cast<double>(options.nodes) * options.degree));
  if (options.nodes <= std::numeric_limits<std::int32_t>::max()) {
    write_edges<std::int32_t>(edge_file, options, edges, threads);
  } else {
    write_edges<std::int64_t>(edge_file, options, edges, threads);
  }
  const std::vector<std::uint32_t> class_of =
      degree_classes(count_in_degrees(NpyArray::open(edge_file), options.nodes, threads),
                     options.classes, options.seed, threads);
  write_synthetic_features(staged.path() / "feat.npy", class_of,
                           {.width = options.features,
                            .dtype = options.feature_dtype,
                            .classes = options.classes,
                            .seed = options.seed},
                           threads);
  DatasetArrays arrays{.name = "rmat", .num_nodes = options.nodes, .num_classes = options.classes};
  split_by_class(class_of, options.splits, options.seed, threads, arrays);
  write_dataset_metadata(staged.path(), arrays);
  staged.commit();
}

}  // namespace gsplit
