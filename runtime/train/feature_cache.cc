#include "runtime/train/feature_cache.h"

#include <cstring>
#include <numeric>
#include <optional>
#include <utility>

namespace gsplit {
namespace {

/// Rows by index, as they are. The op of the backend widens some types, so it does not serve.
void copy_rows(ConstMatrixView from, std::span<const RowIndex> indices, Matrix& to) {
  const std::size_t element = size_of(from.dtype);
  const std::size_t bytes = static_cast<std::size_t>(from.cols) * element;
  const std::size_t stride = static_cast<std::size_t>(from.stride) * element;
  const auto* source = static_cast<const std::byte*>(from.data);
  auto* target = static_cast<std::byte*>(to.data());
  for (const RowIndex row : indices) {
    std::memcpy(target, source + row * stride, bytes);
    target += bytes;
  }
}

std::vector<RowIndex> first_rows(std::size_t count) {
  std::vector<RowIndex> rows(count);
  std::iota(rows.begin(), rows.end(), RowIndex{0});
  return rows;
}

std::vector<std::size_t> times(std::span<const std::uint64_t> counts, std::size_t bytes) {
  std::vector<std::size_t> products;
  for (const std::uint64_t count : counts) products.push_back(count * bytes);
  return products;
}

}  // namespace

/// Where the rows of some nodes are, and how they are put together from [kept | fetched | read].
struct FeatureCache::Sources {
  std::vector<RowIndex> kept;                // rows of kept_
  std::vector<std::vector<RowIndex>> asked;  // by worker: rows of its kept_
  std::vector<LocalId> read;                 // from the shard
  std::vector<RowIndex> place;               // (nodes)

  std::size_t num_asked() const {
    std::size_t count = 0;
    for (const auto& rows : asked) count += rows.size();
    return count;
  }
};

FeatureCache::FeatureCache(std::span<const GlobalId> hot, CachePlacement placement,
                           const Shard& shard, RowReader& shard_rows, Context& context)
    : shard_rows_(shard_rows), context_(context), ranks_(hot, shard.num_nodes()) {
  const bool spread = placement == CachePlacement::kOneWorker;
  workers_ = spread ? static_cast<std::size_t>(context.communicator.size()) : 1;
  self_ = spread ? static_cast<std::size_t>(context.communicator.rank()) : 0;
  std::vector<RowIndex> mine;
  for (std::size_t i = self_; i < hot.size(); i += workers_) {
    mine.push_back(static_cast<RowIndex>(value(hot[i])));
  }
  const ConstMatrixView features = shard.features();
  kept_ = Matrix(context.host.memory(), features.dtype, static_cast<std::int64_t>(mine.size()),
                 features.cols);
  copy_rows(features, mine, kept_);
}

FeatureCache::Sources FeatureCache::find(std::span<const LocalId> nodes) const {
  Sources sources;
  sources.asked.resize(workers_);
  struct Found {
    std::size_t group;  // self_: kept; workers_: to read; else who keeps it
    RowIndex row;       // within what is asked of the group
  };
  std::vector<Found> found;
  for (const LocalId node : nodes) {
    const std::optional<std::uint64_t> rank = ranks_.find(GlobalId{value(node)});
    const std::size_t group = rank ? *rank % workers_ : workers_;
    if (!rank) {
      found.push_back({group, static_cast<RowIndex>(sources.read.size())});
      sources.read.push_back(node);
      continue;
    }
    std::vector<RowIndex>& rows = group == self_ ? sources.kept : sources.asked[group];
    found.push_back({group, static_cast<RowIndex>(rows.size())});
    rows.push_back(static_cast<RowIndex>(*rank / workers_));
  }
  // Kept rows come first, then those of the other workers in rank order, then those read.
  std::vector<RowIndex> first(workers_ + 1, 0);
  auto next = static_cast<RowIndex>(sources.kept.size());
  for (std::size_t p = 0; p <= workers_; ++p) {
    if (p == self_) continue;
    first[p] = next;
    if (p < workers_) next += static_cast<RowIndex>(sources.asked[p].size());
  }
  for (const Found& row : found) sources.place.push_back(first[row.group] + row.row);
  return sources;
}

DType FeatureCache::wire_type() const {
  return context_.bf16_wire && kept_.dtype() == DType::kF32 ? DType::kBF16 : kept_.dtype();
}

Matrix FeatureCache::answer(std::span<const RowIndex> asked) const {
  Matrix rows(context_.host.memory(), wire_type(), static_cast<std::int64_t>(asked.size()),
              kept_.cols());
  if (rows.dtype() == kept_.dtype()) {
    copy_rows(kept_.view(), asked, rows);
  } else {
    context_.host.sparse().gather_rows({kept_.view(), asked, rows.view()}, context_.stream);
  }
  return rows;
}

Matrix FeatureCache::fetch(const Sources& sources) {
  const PhaseScope phase(context_.progress, Phase::kExchange);
  Communicator& communicator = context_.communicator;
  std::vector<std::uint64_t> asks;
  std::vector<RowIndex> asked;
  for (const auto& rows : sources.asked) {
    asks.push_back(rows.size());
    asked.insert(asked.end(), rows.begin(), rows.end());
  }
  const std::vector<std::uint64_t> gives = communicator.exchange_counts(asks);
  std::vector<RowIndex> given(std::accumulate(gives.begin(), gives.end(), std::size_t{0}));
  communicator.exchange({std::as_bytes(std::span(asked)), times(asks, sizeof(RowIndex)),
                         std::as_writable_bytes(std::span(given)), times(gives, sizeof(RowIndex))});
  counts_.id_bytes = asked.size() * sizeof(RowIndex) + (workers_ - 1) * sizeof(std::uint64_t);
  const Matrix sent = answer(given);
  Matrix fetched(context_.host.memory(), sent.dtype(), static_cast<std::int64_t>(asked.size()),
                 sent.cols());
  const std::size_t row_bytes = static_cast<std::size_t>(sent.cols()) * size_of(sent.dtype());
  communicator.exchange({{static_cast<const std::byte*>(sent.view().data), sent.bytes()},
                         times(gives, row_bytes),
                         {static_cast<std::byte*>(fetched.data()), fetched.bytes()},
                         times(asks, row_bytes)});
  context_.shuffle.add(
      {.bytes = sent.bytes(),
       .bytes_pull = given.size() * static_cast<std::uint64_t>(sent.cols()) * sizeof(float),
       .cargo = Cargo::kCachedRows});
  return fetched;
}

void FeatureCache::read(std::span<const LocalId> nodes, MatrixView rows) {
  const Sources sources = find(nodes);
  counts_ = {
      .cache = sources.kept.size(), .remote = sources.num_asked(), .disk = sources.read.size()};
  Matrix fetched;
  if (is_spread()) fetched = fetch(sources);
  SparseOps& sparse = context_.host.sparse();
  if (sources.kept.size() == nodes.size()) {
    return sparse.gather_rows({kept_.view(), sources.kept, rows}, context_.stream);
  }
  if (sources.read.size() == nodes.size()) return shard_rows_.read(nodes, rows);
  Matrix found(context_.host.memory(), rows.dtype, rows.rows, rows.cols);
  const auto kept = static_cast<std::int64_t>(counts_.cache);
  const auto remote = static_cast<std::int64_t>(counts_.remote);
  const auto disk = static_cast<std::int64_t>(counts_.disk);
  sparse.gather_rows({kept_.view(), sources.kept, found.view().slice(0, kept)}, context_.stream);
  if (remote > 0) {
    sparse.gather_rows(
        {fetched.view(), first_rows(counts_.remote), found.view().slice(kept, remote)},
        context_.stream);
  }
  shard_rows_.read(sources.read, found.view().slice(kept + remote, disk));
  sparse.gather_rows({found.view(), sources.place, rows}, context_.stream);
}

}  // namespace gsplit
