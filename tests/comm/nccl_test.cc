// NCCL between the GPUs of one process, a rank thread each: against the same collectives by way of
// the host, and what survivors do when a rank does not come.
#include <gtest/gtest.h>

#include <atomic>
#include <random>
#include <thread>

#include "comm/host_route.h"
#include "comm/world.h"
#include "kernels/device_module.h"
#include "kernels/transfer.h"

namespace gsplit {
namespace {

constexpr std::chrono::milliseconds kDeadline{20000};

class Nccl : public testing::TestWithParam<int> {
 protected:
  void SetUp() override {
    const OpenedModule opened = open_device_module();
    if (opened.module == nullptr) GTEST_SKIP() << opened.problem;
    const DeviceReport report = opened.module->report();
    if (!report.problem.empty()) GTEST_SKIP() << report.problem;
    if (report.devices.size() < ranks()) {
      GTEST_SKIP() << report.devices.size() << " GPUs for " << ranks() << " ranks";
    }
    module_ = opened.module;
  }
  std::size_t ranks() const { return static_cast<std::size_t>(GetParam()); }

  /// What a rank works with. Its members end in reverse order.
  struct Rank {
    Communicator& host;
    std::unique_ptr<Backend> backend;
    std::unique_ptr<Stream> stream;
    std::shared_ptr<DeviceCommunicator> nccl;
    int came = 0;  // to exchanges, those of the start included

    std::size_t number() const { return static_cast<std::size_t>(host.rank()); }
    template <class T>
    Buffer<T> to_gpu(const std::vector<T>& values) {
      Buffer<T> buffer(backend->memory(), values.size());
      backend->memory().copy(buffer.data(), values.data(), values.size() * sizeof(T), *stream);
      return buffer;
    }
    template <class T>
    std::vector<T> from_gpu(const Buffer<T>& buffer) {
      std::vector<T> values(buffer.size());
      backend->memory().copy(values.data(), buffer.data(), values.size() * sizeof(T), *stream);
      stream->synchronize();
      return values;
    }
  };

  /// Runs body(rank) on every rank, connected by NCCL.
  template <class Body>
  void on_ranks(std::chrono::milliseconds deadline, Body body) {
    const std::vector<std::byte> meeting = module_->make_meeting();
    run_local_ranks(GetParam(), kDeadline, [&](Communicator& host) {
      Rank rank{host, module_->make_backend({.device = host.rank()}), nullptr, nullptr};
      rank.stream = rank.backend->memory().create_stream();
      rank.nccl = module_->make_communicator({.rank = host.rank(),
                                              .size = host.size(),
                                              .meeting = meeting,
                                              .deadline = deadline,
                                              .job_has_failed = {},
                                              .coming = [&] { ++rank.came; }},
                                             *rank.backend, *rank.stream);
      body(rank);
    });
  }

  /// One more communicator on the rank's stream, of a group of ranks.
  std::shared_ptr<DeviceCommunicator> connect(Rank& rank, Communicator& group,
                                              std::chrono::milliseconds deadline) {
    const std::vector<std::byte> mine =
        group.rank() == 0 ? module_->make_meeting() : std::vector<std::byte>{};
    return module_->make_communicator({.rank = group.rank(),
                                       .size = group.size(),
                                       .meeting = group.all_gather_v(mine).front(),
                                       .deadline = deadline,
                                       .job_has_failed = {},
                                       .coming = {}},
                                      *rank.backend, *rank.stream);
  }

  const DeviceModule* module_ = nullptr;
};

TEST_P(Nccl, ExchangesSegmentsOfAnyLength) {
  on_ranks(kDeadline, [&](Rank& rank) {
    for (std::size_t scale : {1, 0, 1000, 30000}) {
      // Rank p sends (p + 2 q) * scale bytes of value 16 p + q to rank q; some segments are empty.
      const auto length = [&](std::size_t p, std::size_t q) { return (p + 2 * q) * scale; };
      std::vector<std::byte> sent, expected;
      std::vector<std::size_t> send_bytes, receive_bytes;
      for (std::size_t q = 0; q < ranks(); ++q) {
        send_bytes.push_back(length(rank.number(), q));
        receive_bytes.push_back(length(q, rank.number()));
        sent.insert(sent.end(), send_bytes[q], std::byte(16 * rank.number() + q));
        expected.insert(expected.end(), receive_bytes[q], std::byte(16 * q + rank.number()));
      }
      const Buffer<std::byte> from = rank.to_gpu(sent);
      Buffer<std::byte> to(rank.backend->memory(), expected.size());
      const std::uint64_t before = rank.nccl->bytes_sent();
      rank.nccl->exchange({from.span(), send_bytes, to.span(), receive_bytes}, *rank.stream);
      EXPECT_EQ(rank.from_gpu(to), expected);
      EXPECT_EQ(rank.nccl->bytes_sent() - before, sent.size() - send_bytes[rank.number()]);
    }
  });
}

TEST_P(Nccl, SumsToTheBitsOfTheHost) {
  on_ranks(kDeadline, [&](Rank& rank) {
    HostRoute by_host(rank.host, *rank.backend);
    for (std::size_t size : {1, 3, 1000, 100003}) {
      std::mt19937_64 random(rank.number() + size);
      std::vector<float> values(size);
      for (float& x : values) x = std::uniform_real_distribution<float>(-1, 1)(random);
      Buffer<float> ours = rank.to_gpu(values), theirs = rank.to_gpu(values);
      const auto columns = static_cast<std::int64_t>(size);
      rank.nccl->all_reduce_sum({ours.data(), DType::kF32, 1, columns, columns}, *rank.stream);
      by_host.all_reduce_sum({theirs.data(), DType::kF32, 1, columns, columns}, *rank.stream);
      EXPECT_EQ(rank.from_gpu(ours), rank.from_gpu(theirs)) << size;
    }
  });
}

TEST_P(Nccl, GroupsAndAllTakeTurnsOnOneStream) {
  on_ranks(kDeadline, [&](Rank& rank) {
    const auto pair = rank.host.split(rank.host.rank() / 2);
    const auto others = rank.host.split(rank.host.rank() % 2);
    const auto pair_nccl = connect(rank, *pair, kDeadline);
    const auto others_nccl = connect(rank, *others, kDeadline);
    HostRoute by_host(rank.host, *rank.backend), pair_by_host(*pair, *rank.backend),
        others_by_host(*others, *rank.backend);
    Buffer<float> ours = rank.to_gpu(std::vector<float>(999, 0.1f * (1 + rank.host.rank())));
    Buffer<float> theirs = rank.to_gpu(rank.from_gpu(ours));
    for (int round = 0; round < 5; ++round) {
      for (DeviceCommunicator* way : {pair_nccl.get(), rank.nccl.get(), others_nccl.get()}) {
        way->all_reduce_sum({ours.data(), DType::kF32, 1, 999, 999}, *rank.stream);
      }
      for (HostRoute* way : {&pair_by_host, &by_host, &others_by_host}) {
        way->all_reduce_sum({theirs.data(), DType::kF32, 1, 999, 999}, *rank.stream);
      }
    }
    EXPECT_EQ(rank.from_gpu(ours), rank.from_gpu(theirs));
    rank.host.barrier();  // who leaves ends the waiting of the others, in groups too
  });
}

class NcclFailures : public Nccl {};

TEST_P(NcclFailures, SurvivorsGiveUpWithinTheDeadline) {
  constexpr std::chrono::milliseconds kShort{1500};
  std::atomic<int> found_out{0};
  on_ranks(kShort, [&](Rank& rank) {
    rank.host.barrier();
    if (rank.number() == 0) {
      // Comes too late: what it does then is of no use to anybody.
      std::this_thread::sleep_for(3 * kShort);
      return;
    }
    Buffer<float> data = rank.to_gpu(std::vector<float>(64, 1.0f));
    const int before = rank.came;
    try {
      rank.nccl->all_reduce_sum({data.data(), DType::kF32, 1, 64, 64}, *rank.stream);
      rank.stream->synchronize();
      ADD_FAILURE() << "rank 0 has not come";
    } catch (const CommunicationError& error) {
      // Those who give up later may find that the first one has left.
      EXPECT_LT(error.peer(), 0);
      if (error.peer() == CommunicationError::kSomePeer) ++found_out;
    }
    EXPECT_GT(rank.came, before);
  });
  EXPECT_GE(found_out, 1);
}

TEST_P(NcclFailures, EachCommunicatorOfAStreamIsWatched) {
  constexpr std::chrono::milliseconds kShort{500};
  on_ranks(kShort, [&](Rank& rank) {
    const auto pair = rank.host.split(rank.host.rank() / 2);
    const auto pair_nccl = connect(rank, *pair, kDeadline);
    rank.host.barrier();
    if (rank.number() == 0) return std::this_thread::sleep_for(3 * kShort);
    Buffer<float> data = rank.to_gpu(std::vector<float>(64, 1.0f));
    EXPECT_THROW(
        {
          rank.nccl->all_reduce_sum({data.data(), DType::kF32, 1, 64, 64}, *rank.stream);
          rank.stream->synchronize();
        },
        CommunicationError);
  });
}

TEST_P(NcclFailures, AFailureOfTheJobEndsTheWaiting) {
  const std::vector<std::byte> meeting = module_->make_meeting();
  std::atomic<bool> failed{false};
  run_local_ranks(GetParam(), kDeadline, [&](Communicator& host) {
    const auto backend = module_->make_backend({.device = host.rank()});
    const auto stream = backend->memory().create_stream();
    const auto nccl = module_->make_communicator({.rank = host.rank(),
                                                  .size = host.size(),
                                                  .meeting = meeting,
                                                  .deadline = std::chrono::hours(1),
                                                  .job_has_failed = [&] { return failed.load(); },
                                                  .coming = {}},
                                                 *backend, *stream);
    host.barrier();
    if (host.rank() == 0) {
      std::this_thread::sleep_for(std::chrono::milliseconds(300));
      failed = true;
      return;
    }
    Matrix data(backend->memory(), DType::kF32, 1, 64);
    backend->memory().fill_zero(data.data(), data.bytes(), *stream);
    EXPECT_THROW(
        {
          nccl->all_reduce_sum(data.view(), *stream);
          stream->synchronize();
        },
        CommunicationError);
  });
}

INSTANTIATE_TEST_SUITE_P(Ranks, Nccl, testing::Values(1, 2, 4), testing::PrintToStringParamName());
INSTANTIATE_TEST_SUITE_P(Ranks, NcclFailures, testing::Values(2, 4),
                         testing::PrintToStringParamName());

}  // namespace
}  // namespace gsplit
