#include "kernels/cuda/id_set.h"

#include <array>

#include "kernels/cuda/launch.cuh"
#include "kernels/cuda/sampling.h"
#include "kernels/cuda/scan.h"

namespace gsplit::cuda {
namespace {

using Word = unsigned long long;  // 64 ids, as atomics take it

constexpr RowIndex kNoRow = 0xFFFFFFFFu;

__device__ Word bit_of(std::uint64_t id) { return Word{1} << (id % 64); }

/// Reads first, since most insertions find the bit set.
__device__ void set_bit(Word* words, std::uint64_t id) {
  Word* const word = words + id / 64;
  if ((*word & bit_of(id)) == 0) atomicOr(word, bit_of(id));
}

/// A sealed set.
struct Ranked {
  const Word* words;
  const std::uint32_t* ranks;  // of each word's first bit

  __device__ std::uint32_t rank(std::uint64_t id) const {
    return ranks[id / 64] + static_cast<std::uint32_t>(__popcll(words[id / 64] & (bit_of(id) - 1)));
  }
};

__global__ void insert_ids(const GlobalId* ids, std::int64_t count, Word* words) {
  const std::int64_t i = index_of_thread();
  if (i < count) set_bit(words, value(ids[i]));
}

/// Where the neighbours of a layer's destinations go, whose number only the device knows.
struct Arrivals {
  const GlobalId* ids;
  const std::uint64_t* count;
  GlobalRange own;
  const RowIndex* rows;  // of own nodes
  Word* needed;
  Word* joining;
};

/// All into the one set, and own ones without a row into the other.
__global__ void insert_arrivals(Arrivals op) {
  const std::int64_t i = index_of_thread();
  if (i >= static_cast<std::int64_t>(*op.count)) return;
  const std::uint64_t id = value(op.ids[i]);
  set_bit(op.needed, id);
  if (id < op.own.begin || id >= op.own.end) return;
  if (op.rows[id - op.own.begin] == kNoRow) set_bit(op.joining, id - op.own.begin);
}

__global__ void insert_absent_ids(const LocalId* ids, std::int64_t count, const RowIndex* rows,
                                  Word* words) {
  const std::int64_t i = index_of_thread();
  if (i < count && rows[value(ids[i])] == kNoRow) set_bit(words, value(ids[i]));
}

__global__ void count_bits(const Word* words, std::int64_t count, std::uint32_t* bits) {
  const std::int64_t i = index_of_thread();
  if (i < count) bits[i] = static_cast<std::uint32_t>(__popcll(words[i]));
}

constexpr std::size_t kMostBounds = 128;

struct Bounds {
  std::uint64_t id[kMostBounds];
};

__global__ void ranks_of_bounds(Ranked set, Bounds bounds, std::int64_t count,
                                std::uint64_t* ranks) {
  const std::int64_t i = index_of_thread();
  if (i < count) ranks[i] = set.rank(bounds.id[i]);
}

/// A thread has a word.
__global__ void list_members(Ranked set, GlobalRange range, LocalId* out) {
  const std::uint64_t word = range.begin / 64 + static_cast<std::uint64_t>(index_of_thread());
  if (word * 64 >= range.end) return;
  const std::uint32_t before = set.rank(range.begin);
  std::uint32_t rank = set.ranks[word];
  for (Word bits = set.words[word]; bits != 0; bits &= bits - 1, ++rank) {
    const std::uint64_t id =
        word * 64 + static_cast<std::uint64_t>(__ffsll(static_cast<long long>(bits)) - 1);
    if (id < range.begin || id >= range.end) continue;
    out[rank - before] = LocalId{static_cast<std::uint32_t>(id - range.begin)};
  }
}

__global__ void assign_rows(const LocalId* nodes, std::int64_t count, RowIndex first,
                            RowIndex* rows) {
  const std::int64_t i = index_of_thread();
  if (i < count) rows[value(nodes[i])] = first + static_cast<RowIndex>(i);
}

__global__ void forget_rows(const LocalId* nodes, std::int64_t count, RowIndex* rows) {
  const std::int64_t i = index_of_thread();
  if (i < count) rows[value(nodes[i])] = kNoRow;
}

__global__ void find_rows(const LocalId* nodes, std::int64_t count, const RowIndex* rows,
                          RowIndex* found) {
  const std::int64_t i = index_of_thread();
  if (i < count) found[i] = rows[value(nodes[i])];
}

struct Relabelling {
  const GlobalId* neighbors;
  Ranked needed;
  const RowIndex* rows;
  GlobalRange own;
  RowIndex own_members;
  RowIndex num_own;

  __device__ RowIndex column(std::int64_t edge) const {
    const std::uint64_t id = value(neighbors[edge]);
    if (id >= own.begin && id < own.end) return rows[id - own.begin];
    return num_own + needed.rank(id) - (id >= own.end ? own_members : 0);
  }
};

__global__ void relabel_edges(Relabelling op, std::int64_t edges, RowIndex* columns) {
  const std::int64_t i = index_of_thread();
  if (i < edges) columns[i] = op.column(i);
}

class Positions final : public PositionTable {
 public:
  Positions(std::size_t nodes, CudaMemory& memory) : memory_(memory), rows_(memory, nodes) {
    memory.make_current();
    if (nodes == 0) return;
    check(cudaMemset(rows_.data(), 0xFF, nodes * sizeof(RowIndex)), "filling a table");
    check(cudaDeviceSynchronize(), "filling a table");  // streams do not wait for the default one
  }
  void assign(std::span<const LocalId> nodes, RowIndex first, Stream& stream) override {
    if (nodes.empty()) return;
    const Queue queue(memory_, stream);
    const auto count = static_cast<std::int64_t>(nodes.size());
    assign_rows<<<blocks_for(count), kBlock, 0, queue.raw()>>>(nodes.data(), count, first,
                                                               rows_.data());
    check_launch("assign_rows");
  }
  void look_up(std::span<const LocalId> nodes, std::span<RowIndex> rows,
               Stream& stream) const override {
    if (nodes.empty()) return;
    const Queue queue(memory_, stream);
    const auto count = static_cast<std::int64_t>(nodes.size());
    find_rows<<<blocks_for(count), kBlock, 0, queue.raw()>>>(nodes.data(), count, rows_.data(),
                                                             rows.data());
    check_launch("find_rows");
  }
  void reset(std::span<const LocalId> nodes, Stream& stream) override {
    if (nodes.empty()) return;
    const Queue queue(memory_, stream);
    const auto count = static_cast<std::int64_t>(nodes.size());
    forget_rows<<<blocks_for(count), kBlock, 0, queue.raw()>>>(nodes.data(), count, rows_.data());
    check_launch("forget_rows");
  }
  const RowIndex* rows() const { return rows_.data(); }

 private:
  CudaMemory& memory_;
  Buffer<RowIndex> rows_;
};

class Bitmap final : public IdSet {
 public:
  /// One word more than there are ids, so that the end of the universe has a rank.
  Bitmap(std::uint64_t universe, CudaMemory& memory)
      : memory_(memory), words_(memory, universe / 64 + 1), ranks_(memory, words_.size()) {
    memory.make_current();
    check(cudaMemset(words_.data(), 0, words_.size() * sizeof(Word)), "clearing a set");
    check(cudaDeviceSynchronize(), "clearing a set");
  }
  void insert(std::span<const GlobalId> ids, Stream& stream) override {
    if (ids.empty()) return;
    const Queue queue(memory_, stream);
    const auto count = static_cast<std::int64_t>(ids.size());
    insert_ids<<<blocks_for(count), kBlock, 0, queue.raw()>>>(ids.data(), count, words_.data());
    check_launch("insert_ids");
  }
  void insert_absent(std::span<const LocalId> ids, const PositionTable& present,
                     Stream& stream) override {
    if (ids.empty()) return;
    const Queue queue(memory_, stream);
    const auto count = static_cast<std::int64_t>(ids.size());
    insert_absent_ids<<<blocks_for(count), kBlock, 0, queue.raw()>>>(
        ids.data(), count, static_cast<const Positions&>(present).rows(), words_.data());
    check_launch("insert_absent_ids");
  }
  std::vector<std::size_t> seal(std::span<const GlobalRange> ranges, Stream& stream) override {
    const Queue queue(memory_, stream);
    Buffer<std::uint64_t> ranks(memory_, 2 * ranges.size());
    seal_into(ranks.data(), ranges, queue);
    return counts_of(memory_.read(ranks.data(), ranks.size(), stream));
  }
  /// The ranks of both ends of each range, on the device.
  void seal_into(std::uint64_t* ranks, std::span<const GlobalRange> ranges, const Queue& queue) {
    const auto words = static_cast<std::int64_t>(words_.size());
    count_bits<<<blocks_for(words), kBlock, 0, queue.raw()>>>(words_.data(), words, ranks_.data());
    check_launch("count_bits");
    exclusive_sum(ranks_.data(), ranks_.data(), ranks_.size(), queue);
    find_bounds(ranks, ranges, queue);
  }
  static std::vector<std::size_t> counts_of(std::span<const std::uint64_t> ranks) {
    std::vector<std::size_t> counts;
    for (std::size_t r = 0; r < ranks.size(); r += 2) counts.push_back(ranks[r + 1] - ranks[r]);
    return counts;
  }
  void members(GlobalRange range, std::span<LocalId> out, Stream& stream) const override {
    if (out.empty()) return;
    const Queue queue(memory_, stream);
    const auto words = static_cast<std::int64_t>(range.end / 64 + 1 - range.begin / 64);
    list_members<<<blocks_for(words), kBlock, 0, queue.raw()>>>(ranked(), range, out.data());
    check_launch("list_members");
  }
  void clear(Stream& stream) override {
    memory_.fill_zero(words_.data(), words_.size() * sizeof(Word), stream);
  }
  Ranked ranked() const { return {words_.data(), ranks_.data()}; }
  Word* words() { return words_.data(); }

 private:
  void find_bounds(std::uint64_t* ranks, std::span<const GlobalRange> ranges, const Queue& queue) {
    for (std::size_t first = 0; first < ranges.size(); first += kMostBounds / 2) {
      const std::size_t count = std::min(ranges.size() - first, kMostBounds / 2);
      Bounds bounds{};
      for (std::size_t r = 0; r < count; ++r) {
        bounds.id[2 * r] = ranges[first + r].begin;
        bounds.id[2 * r + 1] = ranges[first + r].end;
      }
      ranks_of_bounds<<<1, kMostBounds, 0, queue.raw()>>>(
          ranked(), bounds, static_cast<std::int64_t>(2 * count), ranks + 2 * first);
      check_launch("ranks_of_bounds");
    }
  }

  CudaMemory& memory_;
  Buffer<Word> words_;
  Buffer<std::uint32_t> ranks_;
};

}  // namespace

std::unique_ptr<IdSet> make_id_set(std::uint64_t universe, CudaMemory& memory) {
  return std::make_unique<Bitmap>(universe, memory);
}

std::unique_ptr<PositionTable> make_position_table(std::size_t nodes, CudaMemory& memory) {
  return std::make_unique<Positions>(nodes, memory);
}

// All that the host must know of a layer stands in one array: the number of edges, two ranks an
// owner, and where nobody else brings own nodes two of those that join.
Growth grow(const GrowArgs& args, const Queue& queue) {
  CountedDraws draws = draw_neighbors(args.draws, queue);
  auto& needed = static_cast<Bitmap&>(args.needed);
  auto& joining = static_cast<Bitmap&>(args.joining);
  const GlobalRange own = args.owners[args.self];
  if (const auto most = static_cast<std::int64_t>(draws.drawn.neighbors.size()); most > 0) {
    insert_arrivals<<<blocks_for(most), kBlock, 0, queue.raw()>>>(
        {.ids = draws.drawn.neighbors.data(),
         .count = draws.count(),
         .own = own,
         .rows = static_cast<const Positions&>(args.positions).rows(),
         .needed = needed.words(),
         .joining = joining.words()});
    check_launch("insert_arrivals");
  }
  const bool alone = args.owners.size() == 1;
  const std::size_t needed_ranks = 2 * args.owners.size();
  Buffer<std::uint64_t> board(queue.memory, 1 + needed_ranks + (alone ? 2 : 0));
  queue.memory.copy(board.data(), draws.count(), sizeof(std::uint64_t), queue.stream);
  needed.seal_into(board.data() + 1, args.owners, queue);
  const GlobalRange everyone{0, own.size()};
  if (alone) joining.seal_into(board.data() + 1 + needed_ranks, {&everyone, 1}, queue);
  const std::vector<std::uint64_t> told =
      queue.memory.read(board.data(), board.size(), queue.stream);

  Growth growth{std::move(draws.drawn), {}, {}};
  if (!draws.known) {
    growth.drawn.neighbors.shrink(told.front());
    if (growth.drawn.weights.size() > 0) growth.drawn.weights.shrink(told.front());
  }
  growth.needed = Bitmap::counts_of(std::span(told).subspan(1, needed_ranks));
  if (alone) growth.joined = Bitmap::counts_of(std::span(told).subspan(1 + needed_ranks)).front();
  return growth;
}

void relabel(const RelabelArgs& args, std::span<RowIndex> columns, const Queue& queue) {
  if (columns.empty()) return;
  const auto edges = static_cast<std::int64_t>(columns.size());
  const Relabelling op{.neighbors = args.neighbors.data(),
                       .needed = static_cast<const Bitmap&>(*args.needed).ranked(),
                       .rows = static_cast<const Positions&>(*args.positions).rows(),
                       .own = args.own,
                       .own_members = static_cast<RowIndex>(args.own_members),
                       .num_own = args.num_own};
  relabel_edges<<<blocks_for(edges), kBlock, 0, queue.raw()>>>(op, edges, columns.data());
  check_launch("relabel_edges");
}

}  // namespace gsplit::cuda
