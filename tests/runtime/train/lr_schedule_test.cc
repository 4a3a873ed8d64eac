#include "runtime/train/lr_schedule.h"

#include <gtest/gtest.h>

#include <cmath>

#include "runtime/train/early_stopping.h"

namespace gsplit {
namespace {

TEST(LrSchedule, ConstantStaysAtItsBase) {
  for (std::uint64_t step : {1u, 7u, 1000u}) EXPECT_EQ(learning_rate({.base = 0.5}, step), 0.5);
}

TEST(LrSchedule, WarmUpRisesLinearlyAndEndsAtTheBase) {
  for (const char* name : {"constant", "cosine", "step"}) {
    const LrScheduleOptions options{
        .name = name, .base = 2, .warmup_steps = 4, .steps_per_epoch = 50, .total_steps = 100};
    EXPECT_DOUBLE_EQ(learning_rate(options, 1), 0.5) << name;
    EXPECT_DOUBLE_EQ(learning_rate(options, 3), 1.5) << name;
    EXPECT_DOUBLE_EQ(learning_rate(options, 4), 2) << name;
    EXPECT_DOUBLE_EQ(learning_rate(options, 5), 2) << name;
  }
}

TEST(LrSchedule, CosineFallsFromTheBaseAndIsHalfInTheMiddle) {
  const LrScheduleOptions options{
      .name = "cosine", .base = 1, .warmup_steps = 20, .total_steps = 120};
  EXPECT_DOUBLE_EQ(learning_rate(options, 21), 1);
  EXPECT_NEAR(learning_rate(options, 71), 0.5, 1e-12);
  EXPECT_GT(learning_rate(options, 120), 0);
  EXPECT_LT(learning_rate(options, 120), 1e-3);
  for (std::uint64_t step = 22; step <= 120; ++step) {
    EXPECT_LT(learning_rate(options, step), learning_rate(options, step - 1));
  }
  EXPECT_NEAR(learning_rate(options, 500), 0,
              1e-12);  // a run that was made longer never rises again
}

TEST(LrSchedule, CosineOfAWarmUpLongerThanTheRunIsTheWarmUp) {
  const LrScheduleOptions options{
      .name = "cosine", .base = 1, .warmup_steps = 200, .total_steps = 100};
  EXPECT_DOUBLE_EQ(learning_rate(options, 100), 0.5);
}

TEST(LrSchedule, StepDropsAtTheFirstStepOfEveryNthEpoch) {
  const LrScheduleOptions options{
      .name = "step", .base = 1, .steps_per_epoch = 7, .epochs_per_drop = 3, .gamma = 0.5};
  for (std::uint64_t step = 1; step <= 7 * 9; ++step) {
    const double drops = static_cast<double>((step - 1) / 21);
    EXPECT_DOUBLE_EQ(learning_rate(options, step), std::pow(0.5, drops)) << step;
  }
}

/// Of 10 nodes with one class each.
Score correct(std::uint64_t count) {
  return {.nodes = 10, .predictions = {count, 10 - count, 10 - count}};
}

bool ends_with(EarlyStopping& stopping, std::uint32_t epoch, const Score& validation) {
  stopping.note(epoch, validation);
  return stopping.ended();
}

TEST(EarlyStopping, EndsAfterItsPatienceWithoutABetterAccuracy) {
  EarlyStopping stopping(2);
  EXPECT_FALSE(ends_with(stopping, 1, correct(0)));
  EXPECT_FALSE(ends_with(stopping, 2, correct(5)));
  EXPECT_FALSE(ends_with(stopping, 3, correct(5)));  // equal is not better
  EarlyStopping better = stopping;
  EXPECT_FALSE(ends_with(better, 4, correct(6)));
  EXPECT_TRUE(ends_with(stopping, 4, correct(5)));
}

TEST(EarlyStopping, CountsEpochsAndNotEvaluations) {
  EarlyStopping stopping(5);
  EXPECT_FALSE(ends_with(stopping, 3, correct(5)));
  EXPECT_FALSE(ends_with(stopping, 6, correct(4)));
  EXPECT_TRUE(ends_with(stopping, 9, correct(4)));
}

TEST(EarlyStopping, GoesOnFromItsState) {
  EarlyStopping before(2), after(2);
  EXPECT_FALSE(ends_with(before, 1, correct(5)));
  EXPECT_FALSE(ends_with(before, 2, correct(4)));
  after.restore(before.state());
  EXPECT_FALSE(after.ended());
  EXPECT_TRUE(ends_with(after, 3, correct(5)));
}

TEST(EarlyStopping, NeverEndsWithoutPatience) {
  EarlyStopping stopping(0);
  for (std::uint32_t epoch = 1; epoch < 100; ++epoch) {
    EXPECT_FALSE(ends_with(stopping, epoch, correct(1)));
  }
}

}  // namespace
}  // namespace gsplit
