// Synthetic datasets, the same for a seed whatever the number of threads.
#pragma once

#include <cstdint>
#include <filesystem>
#include <string>

#include "graph/synthetic_nodes.h"

namespace gsplit {

/// Degree-corrected stochastic block model (B. Karrer and M. Newman, Phys. Rev. E 83, 016107):
/// undirected, both directions stored, no self-loops, no parallel edges. Degree weights are Pareto
/// with exponent 2.3 (of the density), capped so that the largest expected degree is near
/// nodes / 30, or twice the mean where that is more; 75 % of the edges stay inside a class; class
/// sizes are Dirichlet(2); features are 0.5 x class centre (standard normal) + 2 x standard normal
/// noise; the splits take the given shares.
struct SbmOptions {
  std::uint64_t nodes = 0;
  double degree = 0;  ///< directed edges / nodes
  std::uint64_t features = 0;
  DType feature_dtype = DType::kF32;  ///< or fp16, bf16: the same values, rounded
  std::uint64_t classes = 0;
  std::uint64_t seed = 0;
  double train_share = 0.10;
  double validation_share = 0.05;
  double test_share = 0.10;

  SplitShares splits() const { return {train_share, validation_share, test_share}; }
};

/// Writes a dataset to `directory`, which must not exist (UsageError, as for options that no graph
/// can have): it is made under a name that begins with a dot and renamed, so that a half-written
/// one is never seen. Needs about 16 bytes an undirected edge and 24 a node beside the files.
void generate_sbm(const SbmOptions& options, const std::filesystem::path& directory, int threads);

/// R-MAT with the parameters of Graph500 (a, b, c, d = .57, .19, .19, .05) and scrambled ids:
/// directed edges as they fall, self-loops and parallel edges among them. A number of nodes that is
/// no power of two takes the next one and draws again what falls outside. Classes are of equal size
/// by in-degree, features and splits as for the block model.
struct RmatOptions {
  std::uint64_t nodes = 0;  ///< 2 to 2^32
  double degree = 0;        ///< directed edges / nodes
  std::uint64_t features = 0;
  DType feature_dtype = DType::kF32;  ///< or fp16, bf16: the same values, rounded
  std::uint64_t classes = 0;
  std::uint64_t seed = 0;
  SplitShares splits;
};

/// As generate_sbm; needs about 32 bytes a node beside the files.
void generate_rmat(const RmatOptions& options, const std::filesystem::path& directory, int threads);

}  // namespace gsplit
