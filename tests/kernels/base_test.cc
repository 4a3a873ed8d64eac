// Error texts, half floats and Philox's published test vectors.
#include <gtest/gtest.h>

#include <cmath>

#include "kernels/base/dtype.h"
#include "kernels/base/error.h"
#include "kernels/base/philox.h"

namespace gsplit {
namespace {

TEST(Error, IsOneLineWithRemedyAndCode) {
  const UsageError error("file a.npy\nis truncated", "write it again");
  EXPECT_STREQ(error.what(), "file a.npy is truncated; write it again");
  EXPECT_EQ(error.code(), ExitCode::kUsage);
  EXPECT_EQ(SystemError("x").code(), ExitCode::kSystem);
}

TEST(Error, ShowsNothingThatATerminalWouldObeyAndIsNeverLong) {
  EXPECT_STREQ(UsageError("dtype \x1b[2J\tof\x7f").what(), "dtype ?[2J of?");
  EXPECT_EQ(std::string(UsageError(std::string(100'000, 'a'), "b").what()).size(), 4096 + 6);
}

TEST(Error, CheckNamesTheCondition) {
  const int two = 2;
  EXPECT_NO_THROW(GSPLIT_CHECK(two == 2));
  EXPECT_THROW(GSPLIT_CHECK(two == 3), InternalError);
}

TEST(Half, WidensExactly) {
  EXPECT_EQ(to_float(Half{0x3C00}), 1.0f);
  EXPECT_EQ(to_float(Half{0xC000}), -2.0f);
  EXPECT_EQ(to_float(Half{0x7BFF}), 65504.0f);
  EXPECT_EQ(to_float(Half{0x0001}), 0x1p-24f);
  EXPECT_EQ(to_float(Half{0x0400}), 0x1p-14f);
  EXPECT_TRUE(std::isinf(to_float(Half{0x7C00})));
  EXPECT_TRUE(std::isnan(to_float(Half{0x7C01})));
}

TEST(Philox, PublishedVectors) {
  const PhiloxBlock zeros = philox4x32({{0, 0, 0, 0}}, 0);
  EXPECT_EQ(zeros.word[0], 0x6627e8d5u);
  EXPECT_EQ(zeros.word[1], 0xe169c58du);
  EXPECT_EQ(zeros.word[2], 0xbc57ac4cu);
  EXPECT_EQ(zeros.word[3], 0x9b00dbd8u);
  const std::uint32_t all = 0xFFFFFFFFu;
  const PhiloxBlock ones = philox4x32({{all, all, all, all}}, ~std::uint64_t{0});
  EXPECT_EQ(ones.word[0], 0x408f276du);
  EXPECT_EQ(ones.word[1], 0x41c83b0eu);
  EXPECT_EQ(ones.word[2], 0xa20bc7c6u);
  EXPECT_EQ(ones.word[3], 0x6d5451fdu);
}

TEST(Philox, CounterFieldsDoNotOverlap) {
  const PhiloxBlock by_hand = philox4x32({{7, 1, 42, (2u << 28) | (3u << 20) | 5u}}, 99);
  const DrawKey key{.seed = 99, .step = 42, .purpose = Purpose::kDropout, .layer = 3};
  const PhiloxBlock drawn = draw(key, (std::uint64_t{1} << 32) | 7, 5);
  for (int i = 0; i < 4; ++i) EXPECT_EQ(drawn.word[i], by_hand.word[i]);
}

TEST(Philox, BoundedCoversItsRange) {
  EXPECT_EQ(bounded(0, 10), 0u);
  EXPECT_EQ(bounded(0xFFFFFFFFu, 10), 9u);
}

}  // namespace
}  // namespace gsplit
