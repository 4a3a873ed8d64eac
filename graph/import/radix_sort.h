// Least-significant-digit radix sort of records by several 64-bit keys: stable, linear in records
// times the digits that differ (D. Knuth, The Art of Computer Programming 3, section 5.2.5).
#pragma once

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <span>
#include <utility>

namespace gsplit {

namespace detail {

constexpr int kDigitBits = 11;  // 2048 places to write to: as many as the L1 cache bears
constexpr std::size_t kDigits = std::size_t{1} << kDigitBits;

/// One pass from `from` to `to`, by the digit of key(k) at `shift`.
template <class Record>
void radix_pass(std::span<const Record> from, std::span<Record> to, int k, int shift) {
  const auto digit_of = [&](const Record& record) {
    return static_cast<std::size_t>(record.key(k) >> shift) % kDigits;
  };
  std::array<std::size_t, kDigits> next{};
  for (const Record& record : from) ++next[digit_of(record)];
  std::size_t begin = 0;
  for (std::size_t& at : next) begin += std::exchange(at, begin);
  for (const Record& record : from) to[next[digit_of(record)]++] = record;
}

/// The bits of key(k) in which records differ.
template <class Record>
std::uint64_t differing_bits(std::span<const Record> records, int k) {
  std::uint64_t bits = 0;
  for (const Record& record : records) bits |= record.key(k) ^ records.front().key(k);
  return bits;
}

}  // namespace detail

/// Sorts by key(kKeys - 1), then ..., then key(0). Record: std::uint64_t key(int) const and
/// kKeys. `scratch`: of the same size, left in any state.
template <class Record>
void radix_sort(std::span<Record> records, std::span<Record> scratch) {
  std::span<Record> from = records;
  std::span<Record> to = scratch;
  for (int k = 0; k < Record::kKeys; ++k) {
    const std::uint64_t bits = detail::differing_bits(std::span<const Record>(records), k);
    for (int shift = 0; shift < 64; shift += detail::kDigitBits) {
      if ((bits >> shift) % detail::kDigits == 0) continue;
      detail::radix_pass(std::span<const Record>(from), to, k, shift);
      std::swap(from, to);
    }
  }
  if (from.data() != records.data()) std::copy(from.begin(), from.end(), records.begin());
}

}  // namespace gsplit
