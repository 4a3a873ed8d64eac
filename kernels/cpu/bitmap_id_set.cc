#include "kernels/cpu/bitmap_id_set.h"

#include <algorithm>
#include <atomic>

#include "kernels/cpu/position_table.h"

namespace gsplit::cpu {
namespace {

constexpr std::int64_t kInsertGrain = 4096;
constexpr std::int64_t kWordGrain = 1024;

/// Sets a bit that other threads may be setting neighbours of; reads first, since most insertions
/// find it set.
void set_bit(std::uint64_t& word, std::uint64_t bit) {
  std::atomic_ref<std::uint64_t> shared(word);
  if ((shared.load(std::memory_order_relaxed) & bit) == 0) {
    shared.fetch_or(bit, std::memory_order_relaxed);
  }
}

}  // namespace

BitmapIdSet::BitmapIdSet(std::uint64_t universe, const Team& team)
    : words_(universe / 64 + 1),
      summary_(words_.size() / 64 + 1),
      ranks_(words_.size()),
      team_(team) {}

void BitmapIdSet::insert_one(std::uint64_t id) {
  set_bit(words_[id / 64], std::uint64_t{1} << (id % 64));
  set_bit(summary_[id / 4096], std::uint64_t{1} << (id / 64 % 64));
}

void BitmapIdSet::insert(std::span<const GlobalId> ids, Stream&) {
  for_ranges(team_, static_cast<std::int64_t>(ids.size()), kInsertGrain,
             [&](std::int64_t begin, std::int64_t end) {
               for (auto i = begin; i < end; ++i)
                 insert_one(value(ids[static_cast<std::size_t>(i)]));
             });
}

void BitmapIdSet::insert_absent(std::span<const LocalId> ids, const PositionTable& present,
                                Stream&) {
  const auto& table = static_cast<const ArrayPositionTable&>(present);
  for_ranges(team_, static_cast<std::int64_t>(ids.size()), kInsertGrain,
             [&](std::int64_t begin, std::int64_t end) {
               for (auto i = begin; i < end; ++i) {
                 const LocalId id = ids[static_cast<std::size_t>(i)];
                 if (table.row(id) == kNoRow) insert_one(value(id));
               }
             });
}

std::vector<std::size_t> BitmapIdSet::seal(std::span<const GlobalRange> ranges, Stream&) {
  touched_.clear();
  total_ = 0;
  for (std::size_t s = 0; s < summary_.size(); ++s) {
    for (std::uint64_t bits = summary_[s]; bits != 0; bits &= bits - 1) {
      const std::uint64_t word = s * 64 + static_cast<std::uint64_t>(std::countr_zero(bits));
      touched_.push_back(word);
      ranks_[word] = static_cast<std::uint32_t>(total_);
      total_ += static_cast<std::size_t>(std::popcount(words_[word]));
    }
  }
  std::vector<std::size_t> counts;
  for (const GlobalRange& range : ranges) {
    counts.push_back(count_below(range.end) - count_below(range.begin));
  }
  return counts;
}

std::size_t BitmapIdSet::count_below(std::uint64_t id) const {
  const auto touched = std::lower_bound(touched_.begin(), touched_.end(), id / 64);
  if (touched == touched_.end()) return total_;
  return *touched == id / 64 ? rank(id) : ranks_[*touched];
}

void BitmapIdSet::members(GlobalRange range, std::span<LocalId> out, Stream&) const {
  const std::size_t before = count_below(range.begin);
  const auto first = std::lower_bound(touched_.begin(), touched_.end(), range.begin / 64);
  const auto last = std::upper_bound(first, touched_.end(), range.end / 64);
  for_ranges(team_, last - first, kWordGrain, [&](std::int64_t begin, std::int64_t end) {
    for (auto touched = first + begin; touched != first + end; ++touched) {
      std::size_t position = ranks_[*touched];
      for (std::uint64_t bits = words_[*touched]; bits != 0; bits &= bits - 1, ++position) {
        const std::uint64_t id = *touched * 64 + static_cast<std::uint64_t>(std::countr_zero(bits));
        if (id < range.begin || id >= range.end) continue;
        out[position - before] = LocalId{static_cast<std::uint32_t>(id - range.begin)};
      }
    }
  });
}

void BitmapIdSet::clear(Stream&) {
  for (std::uint64_t word : touched_) {
    words_[word] = 0;
    summary_[word / 64] = 0;
  }
  touched_.clear();
  total_ = 0;
}

std::unique_ptr<IdSet> make_id_set(std::uint64_t universe, const Team& team) {
  return std::make_unique<BitmapIdSet>(universe, team);
}

void relabel(const RelabelArgs& args, std::span<RowIndex> columns, const Team& team) {
  const auto& needed = static_cast<const BitmapIdSet&>(*args.needed);
  const auto& positions = static_cast<const ArrayPositionTable&>(*args.positions);
  const auto own_members = static_cast<RowIndex>(args.own_members);
  for_ranges(
      team, static_cast<std::int64_t>(columns.size()), kInsertGrain,
      [&](std::int64_t begin, std::int64_t end) {
        for (auto i = static_cast<std::size_t>(begin); i < static_cast<std::size_t>(end); ++i) {
          const GlobalId id = args.neighbors[i];
          if (args.own.contains(id)) {
            columns[i] =
                positions.row(LocalId{static_cast<std::uint32_t>(value(id) - args.own.begin)});
            continue;
          }
          const RowIndex skipped = value(id) >= args.own.end ? own_members : 0;
          columns[i] = args.num_own + needed.rank(value(id)) - skipped;
        }
      });
}

}  // namespace gsplit::cpu
