// The shuffle: rows of owners, or partial sums of them (sampler/routes.h), to the workers that
// aggregate them, and their gradients back, both from one ShufflePlan. The self segment never
// travels. Collective: all workers call it for the same layer at the same time. In data parallelism
// there is nothing to shuffle. With Context::bf16_wire what travels is rounded to bf16; own rows
// and gradients never are.
#pragma once

#include <cstddef>
#include <memory>
#include <span>
#include <vector>

#include "runtime/nn/context.h"
#include "sampler/block.h"

namespace gsplit {

/// Rows on their way, between two calls of all workers: what is queued meanwhile runs while they
/// travel. Neither the rows sent nor those received may be touched before the end.
class RowFlight {
 public:
  RowFlight(const RowFlight&) = delete;
  RowFlight& operator=(const RowFlight&) = delete;
  /// Where the flight has not ended an error is under way, and peers are told.
  virtual ~RowFlight() = default;
  /// Whether anything travels between any workers: else there is nothing to wait for.
  virtual bool under_way() const = 0;
  /// Collective.
  virtual void end() = 0;

 protected:
  RowFlight() = default;
};

/// Fills rows [num_own, num_sources) of `sources` (num_sources, cols) with what the peers send; the
/// own rows are there, or at their `places`.
std::unique_ptr<RowFlight> start_pull(const SampledLayer& layer, MatrixView sources,
                                      Context& context, const RowPlaces& places = {});
/// The same at once, of rows that are there.
void pull_rows(const SampledLayer& layer, MatrixView sources, Context& context);

/// Sends the gradients of received rows to their owners; end() adds what peers send to the own
/// rows: peer by peer in rank order, or where sums travelled their total, which is in that order
/// too. `gradients`: (num_sources, cols); the own rows may be written until the end.
std::unique_ptr<RowFlight> start_return(const SampledLayer& layer, MatrixView gradients,
                                        Context& context);
/// The same at once.
void return_gradients(const SampledLayer& layer, MatrixView gradients, Context& context);

/// Rows between all workers, whoever owns nodes: those of `from`, `send_counts[p]` for worker p in
/// rank order, to `to`, likewise. Counts: (workers), the own entries 0. Collective over all.
struct AllExchange {
  MatrixView from;
  const std::vector<std::size_t>& send_counts;
  MatrixView to;
  const std::vector<std::size_t>& receive_counts;
};
void exchange_among_all(const AllExchange& rows, Context& context);

/// Copies rows [bounds[p], bounds[p + 1]) of `rows`, which replica p has computed, to all others of
/// Context::replicas, for each p. `bounds`: (replicas + 1), the same everywhere; rows lie without
/// gaps.
void share_rows(std::span<const std::size_t> bounds, MatrixView rows, Context& context);

}  // namespace gsplit
