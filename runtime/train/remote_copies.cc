#include "runtime/train/remote_copies.h"

#include <algorithm>
#include <cstring>
#include <utility>

namespace gsplit {
namespace {

CopiedNodes agree_on(std::span<const GlobalId> wanted, const std::vector<std::uint64_t>& bounds,
                     const Shard& shard, Communicator& communicator) {
  if (shard.num_nodes() + wanted.size() >= value(kNoLocal)) {
    throw UsageError("own nodes and copies together are 2^32 or more", "lower --cache-budget");
  }
  std::vector<std::size_t> counts(bounds.size() - 1, 0);
  std::vector<LocalId> nodes;
  std::size_t owner = 0;
  for (const GlobalId node : wanted) {
    while (value(node) >= bounds[owner + 1]) ++owner;
    ++counts[owner];
    nodes.push_back(LocalId{static_cast<std::uint32_t>(value(node) - bounds[owner])});
  }
  return CopiedNodes::agree(std::move(counts), std::move(nodes), communicator);
}

}  // namespace

RemoteCopies::RemoteCopies(std::span<const GlobalId> wanted,
                           const std::vector<std::uint64_t>& bounds, const Shard& shard,
                           Context& context)
    : shard_(shard),
      communicator_(context.owners),
      nodes_(agree_on(wanted, bounds, shard, context.owners)) {
  const ConstMatrixView features = shard.features();
  const auto count = static_cast<std::int64_t>(wanted.size());
  rows_ = Matrix(context.host.memory(), features.dtype, count, features.cols);
  const std::size_t element = size_of(features.dtype);
  fetch(
      [&](LocalId node) {
        const auto row = static_cast<std::int64_t>(value(node));
        return static_cast<const std::byte*>(features.data) +
               row * features.stride * static_cast<std::int64_t>(element);
      },
      static_cast<std::size_t>(features.cols) * element, rows_.data());
  original_ids_.resize(wanted.size());
  fetch([&](LocalId node) { return &shard.original_ids()[value(node)]; }, sizeof(OriginalId),
        original_ids_.data());
}

OriginalId RemoteCopies::original_id(LocalId name) const {
  const std::size_t own = shard_.num_nodes();
  return value(name) < own ? shard_.original_ids()[value(name)] : original_ids_[value(name) - own];
}

std::vector<double> RemoteCopies::fetch(std::span<const double> own) const {
  std::vector<double> values(nodes_.nodes.size());
  fetch([&](LocalId node) { return &own[value(node)]; }, sizeof(double), values.data());
  return values;
}

void RemoteCopies::fetch(const std::function<const void*(LocalId)>& of, std::size_t bytes,
                         void* copies) const {
  std::vector<std::byte> sent(nodes_.lent.size() * bytes);
  for (std::size_t i = 0; i < nodes_.lent.size(); ++i) {
    std::memcpy(sent.data() + i * bytes, of(nodes_.lent[i]), bytes);
  }
  std::vector<std::size_t> send, receive;
  for (const std::size_t count : nodes_.lent_counts) send.push_back(count * bytes);
  for (const std::size_t count : nodes_.counts) receive.push_back(count * bytes);
  communicator_.exchange(
      {sent, send, {static_cast<std::byte*>(copies), nodes_.nodes.size() * bytes}, receive});
}

void CopiedRowReader::read(std::span<const LocalId> nodes, MatrixView rows) {
  const auto end = std::find_if(nodes.begin(), nodes.end(),
                                [&](LocalId name) { return value(name) >= own_nodes_; });
  const auto own = static_cast<std::size_t>(end - nodes.begin());
  const auto copies = static_cast<std::int64_t>(nodes.size() - own);
  own_.read(nodes.first(own), rows.slice(0, static_cast<std::int64_t>(own)));
  std::vector<RowIndex> places;
  for (const LocalId name : nodes.subspan(own)) {
    places.push_back(value(name) - static_cast<RowIndex>(own_nodes_));
  }
  context_.host.sparse().gather_rows(
      {copies_.rows(), places, rows.slice(static_cast<std::int64_t>(own), copies)},
      context_.stream);
}

}  // namespace gsplit
