// Inputs are functions of (purpose, ranks, position), so each rank computes what it must receive
// without having been told.
#include "tests/comm/conformance.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <chrono>
#include <cstring>
#include <functional>
#include <numeric>
#include <thread>

#include "kernels/base/philox.h"

namespace gsplit {
namespace {

using Bytes = std::vector<std::byte>;

std::uint32_t random_word(std::size_t round, int from, int to) {
  const DrawKey key{
      .seed = 17, .step = static_cast<std::uint32_t>(round), .purpose = Purpose::kGenerator};
  return draw(key, static_cast<std::uint64_t>(from), static_cast<std::uint32_t>(to)).word[0];
}

/// What `from` sends to `to` in a round.
Bytes message(std::uint64_t round, int from, int to, std::size_t bytes) {
  Bytes data(bytes);
  std::uint32_t state = random_word(round, from, to) | 1;
  for (std::byte& b : data) {
    state = state * 1664525u + 1013904223u;
    b = static_cast<std::byte>(state >> 24);
  }
  return data;
}

void append(Bytes& all, const Bytes& part) { all.insert(all.end(), part.begin(), part.end()); }

/// What happens between the halves of an exchange: null: it is made at once.
using Between = std::function<void()>;

/// One all-to-all-v in which `length(from, to)` bytes go from rank to rank, against the model.
template <class Length>
void check_exchange_round(Communicator& comm, std::uint64_t round, Length length,
                          const Between& between = nullptr) {
  const int own = comm.rank();
  Bytes send;
  Bytes expected;
  std::vector<std::size_t> send_bytes;
  std::vector<std::size_t> receive_bytes;
  for (int q = 0; q < comm.size(); ++q) {
    send_bytes.push_back(length(own, q));
    append(send, message(round, own, q, send_bytes.back()));
    receive_bytes.push_back(length(q, own));
    append(expected, message(round, q, own, receive_bytes.back()));
  }
  Bytes received(expected.size());
  const std::uint64_t before = comm.bytes_sent();
  if (between) {
    comm.start({send, send_bytes, received, receive_bytes});
    between();
    comm.finish();
  } else {
    comm.exchange({send, send_bytes, received, receive_bytes});
  }
  EXPECT_EQ(comm.bytes_sent() - before, send.size() - send_bytes[static_cast<std::size_t>(own)]);
  EXPECT_TRUE(received == expected) << "rank " << own << " round " << round;
}

void exchange_is_all_to_all(Communicator& comm) {
  for (std::uint64_t round = 0; round < 200; ++round) {
    check_exchange_round(comm, round, [round](int from, int to) {
      const std::uint32_t word = random_word(1000 + round, from, to);
      return std::size_t{word % 3 == 0 ? 0 : word % 701};
    });
  }
}

void exchange_of_nothing(Communicator& comm) {
  for (std::uint64_t round = 0; round < 3; ++round) {
    check_exchange_round(comm, round, [](int, int) { return std::size_t{0}; });
  }
}

void exchange_with_self_only(Communicator& comm) {
  check_exchange_round(comm, 0,
                       [](int from, int to) { return std::size_t{from == to ? 99u : 0u}; });
}

// Ranks without a message may run ahead of the others: rounds must not mix.
void exchange_rounds_do_not_mix(Communicator& comm) {
  for (std::uint64_t round = 0; round < 500; ++round) {
    const auto ranks = static_cast<std::uint64_t>(comm.size());
    const int only = static_cast<int>(round % ranks);
    check_exchange_round(comm, round, [only](int from, int to) {
      return std::size_t{from == only && to != only ? 8u : 0u};
    });
  }
}

void exchange_of_megabytes(Communicator& comm) {
  for (std::uint64_t round = 0; round < 2; ++round) {
    check_exchange_round(comm, round, [](int from, int to) {
      return std::size_t{1'500'000} + static_cast<std::size_t>(100'001 * from + 10'007 * to);
    });
  }
}

// Small messages, which may have come before the end is asked for, and large ones; ranks work for
// different times, and exchange in halves or at once as each likes.
void exchange_in_halves(Communicator& comm) {
  for (std::uint64_t round = 0; round < 60; ++round) {
    const auto own = static_cast<std::uint64_t>(comm.rank());
    const Between work = [&] {
      std::this_thread::sleep_for(std::chrono::microseconds(100 * ((own + round) % 5)));
    };
    const std::size_t unit = round % 3 == 0 ? 40'000 : 40;
    check_exchange_round(
        comm, round,
        [&](int from, int to) { return unit * static_cast<std::size_t>((from + 2 * to) % 4); },
        (own + round) % 4 == 0 ? Between() : work);
  }
}

void counts_come_from_every_rank(Communicator& comm) {
  std::vector<std::uint64_t> values;
  std::vector<std::uint64_t> expected;
  for (int q = 0; q < comm.size(); ++q) {
    values.push_back(random_word(7, comm.rank(), q) * (std::uint64_t{1} << 20));
    expected.push_back(random_word(7, q, comm.rank()) * (std::uint64_t{1} << 20));
  }
  EXPECT_EQ(comm.exchange_counts(values), expected);
}

void all_gather_is_in_rank_order(Communicator& comm) {
  for (const std::size_t bytes : {0u, 1u, 8u, 20'000u, 2'000'003u}) {
    Bytes expected;
    for (int q = 0; q < comm.size(); ++q) append(expected, message(bytes, q, 0, bytes));
    Bytes all(expected.size());
    comm.all_gather(message(bytes, comm.rank(), 0, bytes), all);
    EXPECT_TRUE(all == expected) << bytes << " bytes";
  }
}

void all_gather_value_is_in_rank_order(Communicator& comm) {
  for (int round = 0; round < 200; ++round) {
    std::vector<int> expected(static_cast<std::size_t>(comm.size()));
    std::iota(expected.begin(), expected.end(), 1000 * round);
    EXPECT_EQ(comm.all_gather_value(1000 * round + comm.rank()), expected);
  }
}

/// Lengths that differ by rank, some of them 0.
std::size_t ragged(int rank, std::size_t unit) {
  return rank % 3 == 1 ? 0 : unit * static_cast<std::size_t>(rank + 1) + 1;
}

void gathers_of_any_length(Communicator& comm) {
  for (const std::size_t unit : {0u, 5u, 300'000u}) {
    std::vector<Bytes> expected;
    for (int q = 0; q < comm.size(); ++q) expected.push_back(message(unit, q, 0, ragged(q, unit)));
    const Bytes& mine = expected[static_cast<std::size_t>(comm.rank())];
    EXPECT_TRUE(comm.all_gather_v(mine) == expected) << unit;
    for (int root = 0; root < comm.size(); ++root) {
      const auto gathered = comm.gather_v(mine, root);
      EXPECT_TRUE(gathered == (comm.rank() == root ? expected : std::vector<Bytes>{})) << unit;
    }
  }
}

void broadcast_copies_from_every_root(Communicator& comm) {
  for (const std::size_t bytes : {0u, 1u, 1000u, 3'000'001u}) {
    for (int root = 0; root < comm.size(); ++root) {
      const Bytes expected = message(bytes, root, 0, bytes);
      Bytes data = comm.rank() == root ? expected : Bytes(bytes);
      comm.broadcast(data, root);
      EXPECT_TRUE(data == expected) << bytes << " bytes from " << root;
    }
  }
}

template <class T>
MatrixView view_of(std::vector<T>& values, std::int64_t rows, std::int64_t cols) {
  return {values.data(), dtype_of<T>::value, rows, cols, cols};
}

// Integers below 2^24: every partial sum is exact, so the sum is known in closed form.
template <class T>
void check_exact_sum(Communicator& comm, std::int64_t rows, std::int64_t cols) {
  std::vector<T> values(static_cast<std::size_t>(rows * cols));
  const auto term = [](std::size_t i, int q) {
    return static_cast<T>((i % 1009) * 3) + static_cast<T>(q * q);
  };
  for (std::size_t i = 0; i < values.size(); ++i) values[i] = term(i, comm.rank());
  comm.all_reduce_sum(view_of(values, rows, cols));
  const int ranks = comm.size();
  const int squares = (ranks - 1) * ranks * (2 * ranks - 1) / 6;
  std::size_t wrong = 0;
  for (std::size_t i = 0; i < values.size(); ++i) {
    wrong += values[i] != term(i, 0) * static_cast<T>(ranks) + static_cast<T>(squares);
  }
  EXPECT_EQ(wrong, 0u) << rows << " x " << cols;
}

void all_reduce_is_exact_on_integers(Communicator& comm) {
  for (const std::int64_t cols : {0, 1, 2, 7, 1000, 8191, 100'003}) {
    check_exact_sum<float>(comm, 1, cols);
    check_exact_sum<double>(comm, 1, cols);
  }
  check_exact_sum<float>(comm, 1001, 2503);
  check_exact_sum<double>(comm, 1001, 701);
}

/// Values that fill the mantissa at different magnitudes, so that the order of a sum shows in its
/// bits.
template <class T>
T rough_value(std::size_t i, int rank) {
  const std::uint32_t word = random_word(i, rank, 5);
  const T magnitude = static_cast<T>(std::uint64_t{1} << (word % 8));
  return (static_cast<T>(word >> 3) - static_cast<T>(1 << 28)) / T{3} * magnitude;
}

template <class T>
void check_rank_order(Communicator& comm, std::size_t count) {
  std::vector<T> values(count);
  std::vector<T> forward(count);
  std::vector<T> backward(count);
  for (std::size_t i = 0; i < count; ++i) {
    values[i] = rough_value<T>(i, comm.rank());
    forward[i] = rough_value<T>(i, 0);
    backward[i] = rough_value<T>(i, comm.size() - 1);
    for (int q = 1; q < comm.size(); ++q) {
      forward[i] += rough_value<T>(i, q);
      backward[i] += rough_value<T>(i, comm.size() - 1 - q);
    }
  }
  comm.all_reduce_sum(view_of(values, 1, static_cast<std::int64_t>(count)));
  EXPECT_EQ(std::memcmp(values.data(), forward.data(), count * sizeof(T)), 0) << count;
  if (comm.size() > 2) {
    EXPECT_NE(forward, backward) << "the values do not tell the order";
  }
}

void all_reduce_adds_in_rank_order(Communicator& comm) {
  for (const std::size_t count : {100u, 60'001u}) {
    check_rank_order<float>(comm, count);
    check_rank_order<double>(comm, count);
  }
}

void all_reduce_wants_dense_rows(Communicator& comm) {
  std::vector<float> values(12, 1.0f);
  const MatrixView padded{values.data(), DType::kF32, 3, 3, 4};
  EXPECT_THROW(comm.all_reduce_sum(padded), InternalError);
  comm.all_reduce_sum({values.data(), DType::kF32, 1, 3, 4});
  EXPECT_EQ(values[2], static_cast<float>(comm.size()));
  EXPECT_EQ(values[3], 1.0f);
}

void barriers_and_collectives_alternate(Communicator& comm) {
  for (int round = 0; round < 50; ++round) {
    comm.barrier();
    const auto all = comm.all_gather_value(round * comm.rank());
    EXPECT_EQ(all.back(), round * (comm.size() - 1));
  }
}

}  // namespace

std::vector<ConformanceCase> conformance_cases() {
  return {{"ExchangeIsAllToAll", exchange_is_all_to_all},
          {"ExchangeOfNothing", exchange_of_nothing},
          {"ExchangeWithSelfOnly", exchange_with_self_only},
          {"ExchangeRoundsDoNotMix", exchange_rounds_do_not_mix},
          {"ExchangeOfMegabytes", exchange_of_megabytes},
          {"ExchangeInHalves", exchange_in_halves},
          {"CountsComeFromEveryRank", counts_come_from_every_rank},
          {"AllGatherIsInRankOrder", all_gather_is_in_rank_order},
          {"AllGatherValueIsInRankOrder", all_gather_value_is_in_rank_order},
          {"GathersOfAnyLength", gathers_of_any_length},
          {"BroadcastCopiesFromEveryRoot", broadcast_copies_from_every_root},
          {"AllReduceIsExactOnIntegers", all_reduce_is_exact_on_integers},
          {"AllReduceAddsInRankOrder", all_reduce_adds_in_rank_order},
          {"AllReduceWantsDenseRows", all_reduce_wants_dense_rows},
          {"BarriersAndCollectivesAlternate", barriers_and_collectives_alternate}};
}

}  // namespace gsplit
