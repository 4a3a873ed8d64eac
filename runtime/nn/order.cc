#include "runtime/nn/order.h"

namespace gsplit {
namespace {

/// FLOPs in the time of one byte: about what processors and GPUs have, 200 GFLOP/s beside 25 GB/s.
constexpr double kFlopsPerByte = 8;
constexpr double kElementBytes = 4;

/// Products with the weights, each 2 in out FLOPs a row: forward, for the weights' gradient, for
/// the rows' gradient.
double products(const LinearPart& part, bool row_gradient) {
  return 1.0 + (part.backward ? 1 : 0) + (part.backward && row_gradient ? 1 : 0);
}

/// Times that each edge's row is read: forward, for the coefficients' gradient, for the rows'
/// gradient.
double edge_passes(const LinearPart& part) {
  const bool collects = part.backward && part.source_gradient;
  return 1.0 + (part.backward && part.attention ? 1 : 0) + (collects ? 1 : 0);
}

BlockSize size_of(const Block& block, Context& context) {
  const BlockSize own{static_cast<double>(block.num_destinations),
                      static_cast<double>(block.num_needed()),
                      static_cast<double>(block.num_edges())};
  BlockSize total;
  for (const BlockSize& size : context.owners.all_gather_value(own)) {
    total.destinations += size.destinations;
    total.sources += size.sources;
    total.edges += size.edges;
  }
  return total;
}

}  // namespace

Order order_from_name(const std::string& name) {
  if (name == "aggregate") return Order::kAggregate;
  if (name == "transform") return Order::kTransform;
  GSPLIT_CHECK(name == "auto");
  return Order::kAuto;
}

double cost_of(Order order, const LinearPart& part, const BlockSize& size) {
  const double in = static_cast<double>(part.in), out = static_cast<double>(part.out);
  const bool aggregate = order == Order::kAggregate;
  const double heads = part.heads;
  const double rows = aggregate ? size.destinations : size.sources;
  const double summed_width = aggregate ? heads * in : out;  // of all sums of one destination
  // The gradient of a coefficient needs that of the sum, so attention asks for it at the input too.
  const bool row_gradient = part.source_gradient || (aggregate && part.attention);
  const double flops = 2 * rows * in * out * products(part, row_gradient) +
                       2 * size.edges * summed_width * edge_passes(part);
  // Forward and backward each read rows of edges; the row between the two steps is written and
  // read.
  const double edge_width = aggregate ? in : out;
  const double elements = size.edges * edge_width * edge_passes(part) +
                          2 * rows * summed_width * products(part, row_gradient);
  return elements * kElementBytes + flops / kFlopsPerByte;
}

Order choose_order(Order fixed, const LinearPart& part, const Block& block, Context& context) {
  if (fixed != Order::kAuto) return fixed;
  // A wider row costs more in each sum, and sources are at least as many as destinations.
  if (!part.attention && part.out >= part.in) return Order::kAggregate;
  const BlockSize size = size_of(block, context);
  const bool transform =
      cost_of(Order::kTransform, part, size) < cost_of(Order::kAggregate, part, size);
  return transform ? Order::kTransform : Order::kAggregate;
}

}  // namespace gsplit
