// Which comes first in a convolution, the sum over neighbours or the product with the weights. They
// commute; what each costs depends on the block at hand.
#pragma once

#include <cstdint>
#include <string>

#include "runtime/nn/context.h"
#include "sampler/block.h"

namespace gsplit {

enum class Order : std::uint8_t {
  kAuto,       ///< of every layer of every batch the cheaper one
  kAggregate,  ///< sum the rows of neighbours, then transform one row per destination
  kTransform,  ///< transform one row per source, then sum
};

/// "auto", "aggregate" or "transform".
Order order_from_name(const std::string& name);

/// The linear part of one layer.
struct LinearPart {
  std::int64_t in = 0;
  std::int64_t out = 0;  ///< of all heads together
  int heads = 1;         ///< sums of neighbours per destination
  bool attention = false;
  bool backward = false;         ///< gradients of the weights are wanted
  bool source_gradient = false;  ///< and those of the sources
};

/// The size of a block; of all workers' blocks of a layer together.
struct BlockSize {
  double destinations = 0;
  double sources = 0;  ///< each once: received rows are another worker's
  double edges = 0;
};

/// What forward and backward cost in that order, in bytes moved; FLOPs are converted.
double cost_of(Order order, const LinearPart& part, const BlockSize& size);

/// The order of one layer of one batch: `fixed`, or the cheaper one by the counts of all workers,
/// so that all choose the same. What travels between workers is not weighed, so that any number of
/// them chooses the same, too. Collective where `fixed` is kAuto.
Order choose_order(Order fixed, const LinearPart& part, const Block& block, Context& context);

}  // namespace gsplit
