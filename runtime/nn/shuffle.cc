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

void exchange_as_they_are(const RowExchange& rows, Context& context) {
  const TraceSpan span(context.progress.tracer, "shuffle",
                       static_cast<std::int32_t>(context.shuffle.layer + 1),
                       bytes_of(rows.from).size());
  rows.traffic.exchange({bytes_of(rows.from), in_bytes(rows.send_counts, rows.from),
                         bytes_of(rows.to), in_bytes(rows.receive_counts, rows.to)},
                        context.stream);
  context.shuffle.add({.bytes = bytes_of(rows.from).size(), .cargo = rows.cargo});
}

void exchange_as_bf16(const RowExchange& rows, Context& context) {
  Matrix sent(context.memory(), DType::kBF16, rows.from.rows, rows.from.cols);
  Matrix received(context.memory(), DType::kBF16, rows.to.rows, rows.to.cols);
  context.backend.sparse().convert_rows({rows.from, sent.view()}, context.stream);
  exchange_as_they_are({sent.view(), rows.send_counts, received.view(), rows.receive_counts,
                        rows.pulled, rows.traffic, rows.cargo},
                       context);
  context.backend.sparse().convert_rows({received.view(), rows.to}, context.stream);
}

void exchange_rows(const RowExchange& rows, Context& context) {
  const PhaseScope phase(context.progress, Phase::kExchange);
  const Stopwatch watch(context.shuffle.seconds);
  if (context.bf16_wire && rows.from.dtype != DType::kBF16) {
    exchange_as_bf16(rows, context);
  } else {
    exchange_as_they_are(rows, context);
  }
  context.shuffle.add(
      {.bytes_pull = rows.pulled * static_cast<std::uint64_t>(rows.from.cols) * sizeof(float)});
}

std::int64_t num_sent(const ShufflePlan& plan) {
  return static_cast<std::int64_t>(
      std::accumulate(plan.send_counts.begin(), plan.send_counts.end(), std::size_t{0}));
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

}  // namespace

void pull_rows(const SampledLayer& layer, MatrixView sources, Context& context) {
  if (context.owners.size() == 1) return;
  const ShufflePlan& plan = layer.plan;
  Matrix sent(context.memory(), sources.dtype, num_sent(plan), sources.cols);
  gather_sent(plan, sources.slice(0, layer.block.num_own), sent.view(), context);
  exchange_rows({sent.view(), plan.send_counts,
                 sources.slice(layer.block.num_own, layer.block.num_received), plan.receive_counts,
                 plan.pull_sends, context.owner_traffic, cargo_of(layer, sources, context)},
                context);
}

void return_gradients(const SampledLayer& layer, MatrixView gradients, Context& context) {
  if (context.owners.size() == 1) return;
  const ShufflePlan& plan = layer.plan;
  Matrix received(context.memory(), gradients.dtype, num_sent(plan), gradients.cols);
  exchange_rows({gradients.slice(layer.block.num_own, layer.block.num_received),
                 plan.receive_counts, received.view(), plan.send_counts, plan.pull_receives,
                 context.owner_traffic, cargo_of(layer, gradients, context)},
                context);
  if (plan.sends_sums()) {
    add_through_sums(plan.sums, received.view(), gradients.slice(0, layer.block.num_own), context);
  } else {
    add_by_peer(plan, received.view(), gradients, context);
  }
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
