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

/// By the definition of the format: fraction bits, exponent bits, bias.
double defined(std::uint16_t bits, int fraction_bits, int bias) {
  const int fraction = bits & ((1 << fraction_bits) - 1);
  const int exponent = (bits & 0x7FFF) >> fraction_bits;
  const double magnitude =
      exponent == 0 ? std::ldexp(fraction, 1 - bias - fraction_bits)
                    : std::ldexp((1 << fraction_bits) + fraction, exponent - bias - fraction_bits);
  return (bits & 0x8000) != 0 ? -magnitude : magnitude;
}

/// Every number of a 16-bit format widens to what it means and comes back; what lies between two
/// neighbours goes to the nearer one, and from the middle to the even one.
template <class T, class Narrow>
void check_format(int fraction_bits, int bias, std::uint16_t infinity, Narrow narrow) {
  for (std::uint32_t i = 0; i <= 0xFFFF; ++i) {
    const T x{static_cast<std::uint16_t>(i)};
    const std::uint16_t magnitude = x.bits & 0x7FFF;
    ASSERT_EQ(is_finite(x), magnitude < infinity) << i;
    if (magnitude > infinity) {
      ASSERT_TRUE(std::isnan(to_float(x))) << i;
      ASSERT_TRUE(std::isnan(to_float(narrow(to_float(x))))) << i;
      continue;
    }
    ASSERT_EQ(narrow(to_float(x)).bits, x.bits) << i;
    ASSERT_EQ(std::signbit(to_float(x)), i >= 0x8000) << i;
    if (magnitude == infinity) {
      ASSERT_TRUE(std::isinf(to_float(x))) << i;
      continue;
    }
    ASSERT_EQ(to_float(x), defined(x.bits, fraction_bits, bias)) << i;
    const T next{static_cast<std::uint16_t>(i + 1)};  // larger in magnitude; perhaps infinity
    const auto middle = static_cast<float>(
        (defined(x.bits, fraction_bits, bias) + defined(next.bits, fraction_bits, bias)) / 2);
    ASSERT_EQ(narrow(middle).bits, x.bits % 2 == 0 ? x.bits : next.bits) << i;
    ASSERT_EQ(narrow(std::nextafter(middle, 0.0f)).bits, x.bits) << i;
    ASSERT_EQ(narrow(std::nextafter(middle, std::copysign(INFINITY, middle))).bits, next.bits) << i;
  }
}

TEST(Half, IsTheFormatAndRoundsToTheNearest) { check_format<Half>(10, 15, 0x7C00, to_half); }

TEST(BFloat16, IsTheFormatAndRoundsToTheNearest) {
  check_format<BFloat16>(7, 127, 0x7F80, to_bfloat16);
  // A NaN whose fraction stands in the lower half alone stays one.
  EXPECT_TRUE(std::isnan(to_float(to_bfloat16(std::bit_cast<float>(0x7F800001u)))));
  EXPECT_TRUE(std::isnan(to_float(to_bfloat16(std::bit_cast<float>(0xFFFFFFFFu)))));
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
