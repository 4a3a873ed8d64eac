// The collectives, written once on top of exchange(). None copies what it sends more often than the
// wire requires: a payload for everybody goes out in rounds of one peer each, straight from the
// caller's memory, unless it is so small that one round of copies is faster.
#include "comm/communicator.h"

#include <algorithm>
#include <cstring>
#include <memory>

#include "comm/transport.h"

namespace gsplit {
namespace {

/// Up to here the time of a collective is its number of rounds, above it is the bytes moved.
constexpr std::size_t kOneRoundBytes = 64 * 1024;
/// all_reduce_sum works on slices of this size: its scratch memory stays bounded and in cache.
constexpr std::size_t kReduceSliceBytes = 4 * 1024 * 1024;
/// Elements summed at a time, so that the partial sum stays in the first-level cache.
constexpr std::size_t kSumBlock = 1024;

std::size_t ranks_of(const Communicator& comm) { return static_cast<std::size_t>(comm.size()); }
std::size_t rank_of(const Communicator& comm) { return static_cast<std::size_t>(comm.rank()); }

/// One round in which a rank sends to at most one peer and receives from at most one. Ranks with
/// nothing to send or receive leave the span empty.
struct Round {
  std::size_t to = 0;
  std::span<const std::byte> send;
  std::size_t from = 0;
  std::span<std::byte> receive;
};

void run_round(Communicator& comm, const Round& round) {
  std::vector<std::size_t> send_bytes(ranks_of(comm), 0);
  std::vector<std::size_t> receive_bytes(ranks_of(comm), 0);
  send_bytes[round.to] = round.send.size();
  receive_bytes[round.from] = round.receive.size();
  comm.exchange({round.send, send_bytes, round.receive, receive_bytes});
}

/// Completes `all`, whose segment of this rank is filled, on every rank. In round s a rank sends to
/// the s-th rank after it and receives from the s-th before it, so no link is used twice at a time.
/// offsets: (size + 1) bytes.
void gather_in_place(Communicator& comm, std::span<std::byte> all,
                     std::span<const std::size_t> offsets) {
  const std::size_t ranks = ranks_of(comm);
  const std::size_t own = rank_of(comm);
  const auto segment = [&](std::size_t q) {
    return all.subspan(offsets[q], offsets[q + 1] - offsets[q]);
  };
  for (std::size_t step = 1; step < ranks; ++step) {
    const std::size_t to = (own + step) % ranks;
    const std::size_t from = (own + ranks - step) % ranks;
    run_round(comm, {to, segment(own), from, segment(from)});
  }
}

void gather_in_one_round(Communicator& comm, std::span<const std::byte> mine,
                         std::span<std::byte> all) {
  const std::vector<std::size_t> bytes(ranks_of(comm), mine.size());
  std::vector<std::byte> copies;
  copies.reserve(all.size());
  for (std::size_t q = 0; q < ranks_of(comm); ++q) {
    copies.insert(copies.end(), mine.begin(), mine.end());
  }
  comm.exchange({copies, bytes, all, bytes});
}

std::vector<std::vector<std::byte>> split_segments(std::span<const std::byte> all,
                                                   std::span<const std::size_t> offsets) {
  std::vector<std::vector<std::byte>> parts(offsets.size() - 1);
  for (std::size_t q = 0; q < parts.size(); ++q) {
    const auto part = all.subspan(offsets[q], offsets[q + 1] - offsets[q]);
    parts[q].assign(part.begin(), part.end());
  }
  return parts;
}

/// sum[i] = parts[0][i] + parts[1][i] + ..., added in this order. `sum` may be one of the parts.
template <class T>
void sum_in_rank_order(std::span<const T* const> parts, std::span<T> sum) {
  T block[kSumBlock];
  for (std::size_t begin = 0; begin < sum.size(); begin += kSumBlock) {
    const std::size_t count = std::min(kSumBlock, sum.size() - begin);
    std::copy_n(parts[0] + begin, count, block);
    for (std::size_t q = 1; q < parts.size(); ++q) {
      const T* part = parts[q] + begin;
      for (std::size_t i = 0; i < count; ++i) block[i] += part[i];
    }
    std::copy_n(block, count, sum.data() + begin);
  }
}

/// Every rank receives everything and sums it all: one round.
template <class T>
void reduce_small(Communicator& comm, std::span<T> data) {
  std::vector<T> all(data.size() * ranks_of(comm));
  comm.all_gather(std::as_bytes(data), std::as_writable_bytes(std::span(all)));
  std::vector<const T*> parts(ranks_of(comm));
  for (std::size_t q = 0; q < parts.size(); ++q) parts[q] = all.data() + q * data.size();
  sum_in_rank_order<T>(parts, data);
}

/// Bytes before each rank's range of `count` elements, cut as evenly as possible: (ranks + 1).
template <class T>
std::vector<std::size_t> range_offsets(std::size_t count, std::size_t ranks) {
  std::vector<std::size_t> offsets(ranks + 1);
  for (std::size_t q = 0; q <= ranks; ++q) offsets[q] = count * q / ranks * sizeof(T);
  return offsets;
}

/// Reduce-scatter: afterwards the own range of `data` is summed. scratch: at least
/// data.size() + size() elements.
template <class T>
void reduce_scatter(Communicator& comm, std::span<T> data, std::span<const std::size_t> offsets,
                    std::span<T> scratch) {
  const std::size_t own = rank_of(comm);
  const std::size_t own_bytes = offsets[own + 1] - offsets[own];
  const std::size_t own_count = own_bytes / sizeof(T);
  std::vector<std::size_t> send_bytes(ranks_of(comm));
  for (std::size_t q = 0; q < send_bytes.size(); ++q) send_bytes[q] = offsets[q + 1] - offsets[q];
  const std::vector<std::size_t> receive_bytes(ranks_of(comm), own_bytes);
  comm.exchange({std::as_bytes(data), send_bytes,
                 std::as_writable_bytes(scratch.first(own_count * ranks_of(comm))), receive_bytes});
  std::vector<const T*> parts(ranks_of(comm));
  for (std::size_t q = 0; q < parts.size(); ++q) parts[q] = scratch.data() + q * own_count;
  sum_in_rank_order<T>(parts, data.subspan(offsets[own] / sizeof(T), own_count));
}

template <class T>
void reduce_large(Communicator& comm, std::span<T> data) {
  const std::size_t slice = kReduceSliceBytes / sizeof(T);
  const std::size_t scratch_size = std::min(slice, data.size()) + ranks_of(comm);
  const auto scratch = std::make_unique_for_overwrite<T[]>(scratch_size);
  for (std::size_t begin = 0; begin < data.size(); begin += slice) {
    const std::span<T> part = data.subspan(begin, std::min(slice, data.size() - begin));
    const std::vector<std::size_t> offsets = range_offsets<T>(part.size(), ranks_of(comm));
    reduce_scatter<T>(comm, part, offsets, {scratch.get(), scratch_size});
    gather_in_place(comm, std::as_writable_bytes(part), offsets);
  }
}

std::size_t to_others(const Exchange& args, int rank) {
  return args.send.size() - args.send_bytes[static_cast<std::size_t>(rank)];
}

}  // namespace

void Communicator::exchange(const Exchange& args) {
  const TraceSpan span(tracer_, "all_to_all", TraceRecord::kNoLayer, to_others(args, rank()));
  start_and_count(args);
  finish_transfer();
}

void Communicator::start(const Exchange& args) {
  const TraceSpan span(tracer_, "start of all_to_all", TraceRecord::kNoLayer,
                       to_others(args, rank()));
  start_and_count(args);
}

void Communicator::finish() {
  const TraceSpan span(tracer_, "end of all_to_all");
  finish_transfer();
}

void Communicator::abandon() noexcept { abandon_transfer(); }

void Communicator::start_and_count(const Exchange& args) {
  if (coming_) coming_();
  under_way_ = args;
  start_transfer(under_way_);
  bytes_sent_ += to_others(args, rank());
}

std::vector<std::uint64_t> Communicator::exchange_counts(std::span<const std::uint64_t> values) {
  GSPLIT_CHECK(values.size() == ranks_of(*this));
  const std::vector<std::size_t> bytes(values.size(), sizeof(std::uint64_t));
  std::vector<std::uint64_t> counts(values.size());
  exchange({std::as_bytes(values), bytes, std::as_writable_bytes(std::span(counts)), bytes});
  return counts;
}

void Communicator::all_gather(std::span<const std::byte> mine, std::span<std::byte> all) {
  GSPLIT_CHECK(all.size() == mine.size() * ranks_of(*this));
  const TraceSpan span(tracer_, "all_gather", TraceRecord::kNoLayer,
                       mine.size() * (ranks_of(*this) - 1));
  if (all.size() <= kOneRoundBytes) {
    gather_in_one_round(*this, mine, all);
    return;
  }
  std::vector<std::size_t> offsets(ranks_of(*this) + 1);
  for (std::size_t q = 0; q < offsets.size(); ++q) offsets[q] = q * mine.size();
  std::memcpy(all.data() + offsets[rank_of(*this)], mine.data(), mine.size());
  gather_in_place(*this, all, offsets);
}

std::vector<std::vector<std::byte>> Communicator::all_gather_v(std::span<const std::byte> mine) {
  const std::vector<std::size_t> bytes = all_gather_value(mine.size());
  const std::vector<std::size_t> offsets = segment_offsets(bytes);
  std::vector<std::byte> all(offsets.back());
  std::copy(mine.begin(), mine.end(),
            all.begin() + static_cast<std::ptrdiff_t>(offsets[rank_of(*this)]));
  gather_in_place(*this, all, offsets);
  return split_segments(all, offsets);
}

std::vector<std::vector<std::byte>> Communicator::gather_v(std::span<const std::byte> mine,
                                                           int root) {
  GSPLIT_CHECK(root >= 0 && root < size());
  const std::vector<std::size_t> lengths = all_gather_value(mine.size());
  std::vector<std::size_t> send_bytes(ranks_of(*this), 0);
  send_bytes[static_cast<std::size_t>(root)] = mine.size();
  const bool at_root = rank() == root;
  const std::vector<std::size_t> receive_bytes =
      at_root ? lengths : std::vector<std::size_t>(ranks_of(*this), 0);
  const std::vector<std::size_t> offsets = segment_offsets(receive_bytes);
  std::vector<std::byte> all(offsets.back());
  exchange({mine, send_bytes, all, receive_bytes});
  if (!at_root) return {};
  return split_segments(all, offsets);
}

// A binomial tree: before the round of stride s the first s ranks from the root on have the data.
void Communicator::broadcast(std::span<std::byte> data, int root) {
  GSPLIT_CHECK(root >= 0 && root < size());
  const std::size_t ranks = ranks_of(*this);
  const std::size_t origin = static_cast<std::size_t>(root);
  const std::size_t place = (rank_of(*this) + ranks - origin) % ranks;
  for (std::size_t stride = 1; stride < ranks; stride *= 2) {
    Round round;
    if (place < stride && place + stride < ranks) {
      round.to = (origin + place + stride) % ranks;
      round.send = data;
    } else if (place >= stride && place < 2 * stride) {
      round.from = (origin + place - stride) % ranks;
      round.receive = data;
    }
    run_round(*this, round);
  }
}

void Communicator::all_reduce_sum(MatrixView data) {
  GSPLIT_CHECK(data.stride == data.cols || data.rows <= 1);
  if (size() == 1) return;
  const auto elements = static_cast<std::size_t>(data.rows * data.cols);
  const std::uint64_t before = bytes_sent_;
  TraceSpan span(tracer_, "all_reduce");
  dispatch_compute(data.dtype, [&]<class T>(T) {
    const std::span<T> values(static_cast<T*>(data.data), elements);
    if (values.size_bytes() * ranks_of(*this) <= kOneRoundBytes) {
      reduce_small<T>(*this, values);
    } else {
      reduce_large<T>(*this, values);
    }
  });
  span.set_bytes(bytes_sent_ - before);
}

void Communicator::barrier() {
  std::vector<std::size_t> bytes(ranks_of(*this), 1);
  bytes[rank_of(*this)] = 0;
  const std::vector<std::byte> send(ranks_of(*this) - 1);
  std::vector<std::byte> receive(ranks_of(*this) - 1);
  exchange({send, bytes, receive, bytes});
}

}  // namespace gsplit
