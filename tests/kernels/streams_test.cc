// Two slots of one device, a stream each: batches take turns on them, and where one needs what
// another has made its stream waits for an event. The result is that of one stream.
#include "tests/kernels/conformance.h"

namespace gsplit {
namespace {

using namespace test;

class TwoStreams : public Conformance {
 protected:
  static constexpr std::size_t kBatches = 6, kRows = 70, kSources = 150, kWidth = 36;

  /// Two on the same GPU; their memories are apart, as the stream is what makes it safe to hand out
  /// a block again.
  std::vector<Device> make_slots() {
    std::vector<Device> slots;
    for (int i = 0; i < 2; ++i) slots.push_back(std::move(make_devices().front()));
    return slots;
  }

  struct Batch {
    Csr block;
    std::vector<float> rows;  // (kSources, kWidth)
  };
  std::vector<Batch> make_batches() {
    std::vector<Batch> batches;
    for (std::size_t i = 0; i < kBatches; ++i) {
      batches.push_back({random_csr(kRows, kSources, 8, random_), {}});
      for (std::size_t k = 0; k < kSources * kWidth; ++k) {
        batches.back().rows.push_back(static_cast<float>(random_() % 2001) / 100000.0f - 0.01f);
      }
    }
    return batches;
  }

  /// What does not depend on other batches: sums of rows.
  static Matrix load(const Batch& batch, Device& slot) {
    Memory& memory = slot.backend().memory();
    Matrix source(memory, DType::kF32, kSources, kWidth);
    memory.copy(source.data(), batch.rows.data(), batch.rows.size() * sizeof(float), slot.stream());
    Matrix sums(memory, DType::kF32, kRows, kWidth);
    const DeviceArray<RowIndex> indptr(batch.block.indptr, memory, slot.stream());
    const DeviceArray<RowIndex> columns(batch.block.columns, memory, slot.stream());
    slot.backend().sparse().aggregate(
        {indptr.span(), columns.span(), source.view(), sums.view(), {.reduce = Reduce::kSum}, {}},
        slot.stream());
    return sums;
  }

  /// weights += sums^T (sums weights): the order of the batches shows.
  static void update(const Matrix& sums, MatrixView weights, Device& slot) {
    Matrix outputs(slot.backend().memory(), DType::kF32, kRows, kWidth);
    DenseOps& dense = slot.backend().dense();
    dense.gemm({.a = sums.view(), .b = weights, .c = outputs.view()}, slot.stream());
    dense.gemm({.a = sums.view(),
                .b = outputs.view(),
                .c = weights,
                .transpose_a = true,
                .accumulate = true},
               slot.stream());
  }

  static Matrix initial_weights(Device& slot) {
    std::vector<float> identity(kWidth * kWidth);
    for (std::size_t i = 0; i < kWidth; ++i) identity[i * kWidth + i] = 1;
    Matrix weights(slot.backend().memory(), DType::kF32, kWidth, kWidth);
    upload(std::as_bytes(std::span(identity)), weights.view(), slot.backend().memory(),
           slot.stream());
    return weights;
  }

  std::vector<std::byte> on_one_stream(const std::vector<Batch>& batches, Device& slot) {
    Matrix weights = initial_weights(slot);
    for (const Batch& batch : batches) update(load(batch, slot), weights.view(), slot);
    return download(weights.view(), slot.backend().memory(), slot.stream());
  }

  std::vector<std::byte> on_two_streams(const std::vector<Batch>& batches,
                                        std::vector<Device>& slots) {
    Matrix weights = initial_weights(slots[0]);
    const auto updated = slots[0].backend().memory().create_event();
    for (std::size_t i = 0; i < batches.size(); ++i) {
      Device& slot = slots[i % 2];
      const Matrix sums = load(batches[i], slot);
      slot.stream().wait(*updated);
      update(sums, weights.view(), slot);
      slot.stream().record(*updated);
    }
    slots[0].stream().wait(*updated);
    return download(weights.view(), slots[0].backend().memory(), slots[0].stream());
  }
};

TEST_P(TwoStreams, GiveWhatOneGives) {
  const std::vector<Batch> batches = make_batches();
  std::vector<Device> slots = make_slots();
  const std::vector<std::byte> serial = on_one_stream(batches, slots[0]);
  for (int round = 0; round < 3; ++round) {
    EXPECT_EQ(on_two_streams(batches, slots), serial) << "round " << round;
  }
}

TEST_P(TwoStreams, WaitingForAnEventThatWasNeverRecordedKeepsNothingBack) {
  std::vector<Device> slots = make_slots();
  slots[1].stream().wait(*slots[0].backend().memory().create_event());
  const std::vector<Batch> batches = make_batches();
  EXPECT_EQ(on_one_stream(batches, slots[1]), on_one_stream(batches, slots[0]));
}

INSTANTIATE_TEST_SUITE_P(Types, TwoStreams, testing::Values(DType::kF32),
                         [](const auto& info) { return name_of(info.param); });

}  // namespace
}  // namespace gsplit
