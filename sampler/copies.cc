#include "sampler/copies.h"

#include <algorithm>
#include <numeric>
#include <span>
#include <utility>

namespace gsplit {
namespace {

std::size_t sum(const std::vector<std::size_t>& values) {
  return std::accumulate(values.begin(), values.end(), std::size_t{0});
}

/// Bytes of one bit for each node, by worker.
std::vector<std::size_t> bitmap_bytes(const std::vector<std::size_t>& counts) {
  std::vector<std::size_t> bytes;
  for (const std::size_t count : counts) bytes.push_back((count + 7) / 8);
  return bytes;
}

/// Calls f(i, byte, bit) for each of the nodes: where its bit stands.
template <class F>
void for_each_bit(const std::vector<std::size_t>& counts, F&& f) {
  std::size_t node = 0, first_byte = 0;
  for (const std::size_t count : counts) {
    for (std::size_t i = 0; i < count; ++i) f(node++, first_byte + i / 8, i % 8);
    first_byte += (count + 7) / 8;
  }
}

}  // namespace

CopiedNodes CopiedNodes::agree(std::vector<std::size_t> counts, std::vector<LocalId> nodes,
                               Communicator& communicator) {
  GSPLIT_CHECK(sum(counts) == nodes.size());
  const std::vector<std::uint64_t> mine(counts.begin(), counts.end());
  const std::vector<std::uint64_t> theirs = communicator.exchange_counts(mine);
  CopiedNodes kept{.counts = std::move(counts),
                   .nodes = std::move(nodes),
                   .lent_counts = {theirs.begin(), theirs.end()},
                   .lent = {}};
  kept.lent.resize(sum(kept.lent_counts));
  std::vector<std::size_t> send, receive;
  for (const std::size_t count : kept.counts) send.push_back(count * sizeof(LocalId));
  for (const std::size_t count : kept.lent_counts) receive.push_back(count * sizeof(LocalId));
  communicator.exchange({std::as_bytes(std::span(kept.nodes)), send,
                         std::as_writable_bytes(std::span(kept.lent)), receive});
  return kept;
}

void CopyUse::renumber(RowIndex num_owned, std::span<RowIndex> columns) const {
  const auto num_own = num_owned + static_cast<RowIndex>(copies.size());
  for (RowIndex& column : columns) {
    if (column < num_owned) continue;
    const RowIndex source = column - num_owned;
    column = (copied[source] != 0 ? num_owned : num_own) + rank[source];
  }
}

CopyUse use_copies(const CopiedNodes& kept, std::vector<std::size_t>& counts,
                   Buffer<LocalId>& remote, Memory& memory) {
  CopyUse use;
  std::vector<LocalId> rest;
  std::size_t source = 0, copy = 0;
  for (std::size_t q = 0; q < counts.size(); ++q) {
    const std::size_t end = source + counts[q], copies_end = copy + kept.counts[q];
    const std::size_t before = rest.size();
    for (; source < end; ++source) {
      const LocalId node = remote.span()[source];
      while (copy < copies_end && kept.nodes[copy] < node) ++copy;
      const bool copied = copy < copies_end && kept.nodes[copy] == node;
      use.copied.push_back(copied ? 1 : 0);
      use.rank.push_back(static_cast<RowIndex>(copied ? use.copies.size() : rest.size()));
      if (copied) {
        use.copies.push_back(static_cast<std::uint32_t>(copy));
      } else {
        rest.push_back(node);
      }
    }
    copy = copies_end;
    counts[q] = rest.size() - before;
  }
  remote = Buffer<LocalId>(memory, rest.size());
  std::copy(rest.begin(), rest.end(), remote.data());
  return use;
}

std::vector<LocalId> nodes_read_from_copies(const CopiedNodes& kept, const CopyUse& use,
                                            Communicator& communicator, std::uint64_t& sent_bytes) {
  const std::vector<std::size_t> send = bitmap_bytes(kept.counts);
  const std::vector<std::size_t> receive = bitmap_bytes(kept.lent_counts);
  std::vector<std::uint8_t> is_used(kept.nodes.size(), 0);
  for (const std::uint32_t copy : use.copies) is_used[copy] = 1;
  std::vector<std::uint8_t> used(sum(send), 0), read(sum(receive));
  for_each_bit(kept.counts, [&](std::size_t copy, std::size_t byte, std::size_t bit) {
    used[byte] = static_cast<std::uint8_t>(used[byte] | (is_used[copy] << bit));
  });
  communicator.exchange(
      {std::as_bytes(std::span(used)), send, std::as_writable_bytes(std::span(read)), receive});
  sent_bytes += used.size();
  std::vector<LocalId> nodes;
  for_each_bit(kept.lent_counts, [&](std::size_t lent, std::size_t byte, std::size_t bit) {
    if (((read[byte] >> bit) & 1) != 0) nodes.push_back(kept.lent[lent]);
  });
  return nodes;
}

}  // namespace gsplit
