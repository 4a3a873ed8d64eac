#include "runtime/nn/shuffle.h"

#include <numeric>
#include <vector>

namespace gsplit {
namespace {

std::vector<std::size_t> in_bytes(const std::vector<std::size_t>& counts, const MatrixView& rows) {
  std::vector<std::size_t> bytes(counts);
  for (std::size_t& count : bytes) {
    count *= static_cast<std::size_t>(rows.cols) * size_of(rows.dtype);
  }
  return bytes;
}

std::span<std::byte> bytes_of(const MatrixView& rows) {
  GSPLIT_CHECK(rows.stride == rows.cols);
  return {static_cast<std::byte*>(rows.data),
          static_cast<std::size_t>(rows.rows * rows.cols) * size_of(rows.dtype)};
}

/// Rows of one matrix to those of another, both grouped by peer.
struct RowExchange {
  MatrixView from;
  const std::vector<std::size_t>& send_counts;
  MatrixView to;
  const std::vector<std::size_t>& receive_counts;
  std::size_t pulled;  // rows that pulling sends this way
  DeviceCommunicator& traffic;
  Cargo cargo;
};

/// Of the layer that Context::shuffle counts for. All workers find the same.
Cargo cargo_of(const SampledLayer& layer, const MatrixView& rows, const Context& context) {
  if (layer.plan.sends_sums() || layer.block.inverse_lengths.size() > 0) return Cargo::kSums;
  return rows.cols == context.shuffle.in_width ? Cargo::kRows : Cargo::kProjected;
}

/// A RowExchange, in bf16 where the wire asks for it.
class Flight {
 public:
  Flight(const RowExchange& rows, Context& context)
      : context_(context), traffic_(rows.traffic), from_(rows.from), to_(rows.to) {
    const PhaseScope phase(context.progress, Phase::kExchange);
    const Stopwatch watch(context.shuffle.seconds);
    if (context.bf16_wire && rows.from.dtype != DType::kBF16) {
      rounded_from_ = Matrix(context.memory(), DType::kBF16, from_.rows, from_.cols);
      rounded_to_ = Matrix(context.memory(), DType::kBF16, to_.rows, to_.cols);
      context.backend.sparse().convert_rows({from_, rounded_from_.view()}, context.stream);
      from_ = rounded_from_.view();
      to_ = rounded_to_.view();
    }
    send_bytes_ = in_bytes(rows.send_counts, from_);
    receive_bytes_ = in_bytes(rows.receive_counts, to_);
    const TraceSpan span(context.progress.tracer, "shuffle", layer_number(),
                         bytes_of(from_).size());
    traffic_.start({bytes_of(from_), send_bytes_, bytes_of(to_), receive_bytes_}, context.stream);
    under_way_ = true;
    context.shuffle.add(
        {.bytes = bytes_of(from_).size(),
         .bytes_pull = rows.pulled * static_cast<std::uint64_t>(from_.cols) * sizeof(float),
         .cargo = rows.cargo});
    unrounded_to_ = rows.to;
  }
  ~Flight() {
    if (under_way_) traffic_.abandon();
  }
  Flight(const Flight&) = delete;
  Flight& operator=(const Flight&) = delete;

  void end() {
    const PhaseScope phase(context_.progress, Phase::kExchange);
    const Stopwatch watch(context_.shuffle.seconds);
    {
      const TraceSpan span(context_.progress.tracer, "end of shuffle", layer_number());
      traffic_.finish(context_.stream);
    }
    under_way_ = false;
    if (rounded_to_.rows() == 0) return;
    context_.backend.sparse().convert_rows({rounded_to_.view(), unrounded_to_}, context_.stream);
  }

 private:
  std::int32_t layer_number() const {
    return static_cast<std::int32_t>(context_.shuffle.layer + 1);
  }

  Context& context_;
  DeviceCommunicator& traffic_;
  MatrixView from_;
  MatrixView to_;
  MatrixView unrounded_to_;
  Matrix rounded_from_;
  Matrix rounded_to_;
  std::vector<std::size_t> send_bytes_;
  std::vector<std::size_t> receive_bytes_;
  bool under_way_ = false;
};

void exchange_rows(const RowExchange& rows, Context& context) { Flight(rows, context).end(); }

std::int64_t num_sent(const ShufflePlan& plan) {
  return static_cast<std::int64_t>(
      std::accumulate(plan.send_counts.begin(), plan.send_counts.end(), std::size_t{0}));
}

/// From rows that lie anywhere: what scale_rows and gather_rows would have made of them.
void gather_sent(const ShufflePlan& plan, const RowPlaces& places, MatrixView sent,
                 Context& context) {
  GSPLIT_CHECK(!plan.sends_sums());
  SparseOps& sparse = context.backend.sparse();
  sparse.gather_placed_rows({places.rows, plan.send_rows.span(), sent}, context.stream);
  if (places.factors.empty()) return;
  const auto own = static_cast<std::int64_t>(places.factors.size());
  Matrix factors(context.memory(), DType::kF64, sent.rows, 1);
  sparse.gather_rows(
      {{places.factors.data(), DType::kF64, own, 1, 1}, plan.send_rows.span(), factors.view()},
      context.stream);
  sparse.scale_rows(
      {sent, {static_cast<const double*>(factors.data()), static_cast<std::size_t>(sent.rows)}},
      context.stream);
}

void gather_sent(const ShufflePlan& plan, ConstMatrixView own, MatrixView sent, Context& context) {
  if (!plan.sends_sums()) {
    context.backend.sparse().gather_rows({own, plan.send_rows.span(), sent}, context.stream);
    return;
  }
  const PartialSums& sums = plan.sums;
  context.backend.sparse().aggregate({sums.indptr.span(),
                                      sums.columns.span(),
                                      own,
                                      sent,
                                      {.reduce = Reduce::kSum},
                                      sums.weights.span()},
                                     context.stream);
}

/// Adds to `own` the gradients of the sums that were sent.
void add_through_sums(const PartialSums& sums, ConstMatrixView received, MatrixView own,
                      Context& context) {
  Matrix gradient(context.memory(), own.dtype, own.rows, own.cols);
  context.backend.sparse().aggregate_backward({sums.indptr.span(),
                                               sums.inverse.indptr.span(),
                                               sums.inverse.destinations.span(),
                                               received,
                                               gradient.view(),
                                               {.reduce = Reduce::kSum},
                                               sums.weights.span(),
                                               sums.inverse.edges.span()},
                                              context.stream);
  context.backend.dense().add({gradient.view(), own}, context.stream);
}

/// Adds to `gradients` those of the rows that were sent, peer by peer.
void add_by_peer(const ShufflePlan& plan, MatrixView received, MatrixView gradients,
                 Context& context) {
  std::size_t offset = 0;
  for (std::size_t count : plan.send_counts) {
    const MatrixView from_peer =
        received.slice(static_cast<std::int64_t>(offset), static_cast<std::int64_t>(count));
    context.backend.sparse().add_rows(
        {from_peer, plan.send_rows.span().subspan(offset, count), gradients}, context.stream);
    offset += count;
  }
}

/// Where every worker has all rows.
class NoFlight final : public RowFlight {
 public:
  bool under_way() const override { return false; }
  void end() override {}
};

class Pull final : public RowFlight {
 public:
  Pull(const SampledLayer& layer, MatrixView sources, const RowPlaces& places, Context& context)
      : sent_(context.memory(), sources.dtype, num_sent(layer.plan), sources.cols),
        flight_(gathered(layer, sources, places, context), context) {}
  bool under_way() const override { return true; }
  void end() override { flight_.end(); }

 private:
  RowExchange gathered(const SampledLayer& layer, MatrixView sources, const RowPlaces& places,
                       Context& context) {
    const ShufflePlan& plan = layer.plan;
    if (places.empty()) {
      gather_sent(plan, sources.slice(0, layer.block.num_own), sent_.view(), context);
    } else {
      gather_sent(plan, places, sent_.view(), context);
    }
    return {sent_.view(),
            plan.send_counts,
            sources.slice(layer.block.num_own, layer.block.num_received),
            plan.receive_counts,
            plan.pull_sends,
            context.owner_traffic,
            cargo_of(layer, sources, context)};
  }

  Matrix sent_;
  Flight flight_;
};

class Return final : public RowFlight {
 public:
  Return(const SampledLayer& layer, MatrixView gradients, Context& context)
      : context_(context),
        layer_(layer),
        gradients_(gradients),
        received_(context.memory(), gradients.dtype, num_sent(layer.plan), gradients.cols),
        flight_(
            {gradients.slice(layer.block.num_own, layer.block.num_received),
             layer.plan.receive_counts, received_.view(), layer.plan.send_counts,
             layer.plan.pull_receives, context.owner_traffic, cargo_of(layer, gradients, context)},
            context) {}
  bool under_way() const override { return true; }
  void end() override {
    flight_.end();
    const ShufflePlan& plan = layer_.plan;
    if (plan.sends_sums()) {
      add_through_sums(plan.sums, received_.view(), gradients_.slice(0, layer_.block.num_own),
                       context_);
    } else {
      add_by_peer(plan, received_.view(), gradients_, context_);
    }
  }

 private:
  Context& context_;
  const SampledLayer& layer_;
  MatrixView gradients_;
  Matrix received_;
  Flight flight_;
};

}  // namespace

std::unique_ptr<RowFlight> start_pull(const SampledLayer& layer, MatrixView sources,
                                      Context& context, const RowPlaces& places) {
  if (context.owners.size() == 1) return std::make_unique<NoFlight>();
  return std::make_unique<Pull>(layer, sources, places, context);
}

void pull_rows(const SampledLayer& layer, MatrixView sources, Context& context) {
  start_pull(layer, sources, context)->end();
}

std::unique_ptr<RowFlight> start_return(const SampledLayer& layer, MatrixView gradients,
                                        Context& context) {
  if (context.owners.size() == 1) return std::make_unique<NoFlight>();
  return std::make_unique<Return>(layer, gradients, context);
}

void return_gradients(const SampledLayer& layer, MatrixView gradients, Context& context) {
  start_return(layer, gradients, context)->end();
}

void exchange_among_all(const AllExchange& rows, Context& context) {
  exchange_rows({rows.from, rows.send_counts, rows.to, rows.receive_counts, 0, context.row_traffic,
                 Cargo::kColumnParts},
                context);
}

void share_rows(std::span<const std::size_t> bounds, MatrixView rows, Context& context) {
  if (context.replicas.traffic == nullptr) return;
  const auto slice = [&](std::size_t begin, std::size_t end) {
    return rows.slice(static_cast<std::int64_t>(begin), static_cast<std::int64_t>(end - begin));
  };
  const auto rank = static_cast<std::size_t>(context.replicas.index);
  const MatrixView own = slice(bounds[rank], bounds[rank + 1]);
  std::vector<std::size_t> send_counts, receive_counts;
  // One copy for each replica, as an exchange asks for.
  const std::int64_t replicas = context.replicas.count;
  Matrix copies(context.memory(), rows.dtype, own.rows * replicas, rows.cols);
  for (std::size_t p = 0; p + 1 < bounds.size(); ++p) {
    send_counts.push_back(bounds[rank + 1] - bounds[rank]);
    receive_counts.push_back(bounds[p + 1] - bounds[p]);
    const MatrixView copy = copies.view().slice(static_cast<std::int64_t>(p) * own.rows, own.rows);
    context.memory().copy(copy.data, own.data, bytes_of(own).size(), context.stream);
  }
  context.replicas.traffic->exchange(
      {bytes_of(copies.view()), in_bytes(send_counts, rows),
       bytes_of(slice(bounds.front(), bounds.back())), in_bytes(receive_counts, rows)},
      context.stream);
}

}  // namespace gsplit
