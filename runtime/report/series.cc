#include "runtime/report/series.h"

#include <algorithm>
#include <cmath>

namespace gsplit {

void StepBin::add(const StepRecord& record) {
  StepBin one{
      .steps = 1, .last_step = record.step, .elapsed_s = record.elapsed_s, .sums = record.figures};
  if (std::isfinite(record.loss)) {
    one.losses = 1;
    one.loss_sum = one.loss_min = one.loss_max = record.loss;
  }
  add(one);
}

void StepBin::add(const StepBin& next) {
  if (next.losses > 0) {
    loss_min = losses > 0 ? std::min(loss_min, next.loss_min) : next.loss_min;
    loss_max = losses > 0 ? std::max(loss_max, next.loss_max) : next.loss_max;
  }
  steps += next.steps;
  last_step = next.last_step;
  elapsed_s = next.elapsed_s;
  losses += next.losses;
  loss_sum += next.loss_sum;
  for (std::size_t i = 0; i < sums.size(); ++i) sums[i] += next.sums[i];
}

void StepSeries::add(const StepRecord& record) {
  if (bins_.empty() || bins_.back().steps == steps_per_bin_) {
    if (bins_.size() == kMostBins) {
      for (std::size_t i = 0; i < kMostBins / 2; ++i) {
        StepBin pair = bins_[2 * i];
        pair.add(bins_[2 * i + 1]);
        bins_[i] = pair;
      }
      bins_.resize(kMostBins / 2);
      steps_per_bin_ *= 2;
    }
    bins_.emplace_back();
  }
  bins_.back().add(record);
}

StepBin StepSeries::total() const {
  StepBin total;
  for (const StepBin& bin : bins_) total.add(bin);
  return total;
}

}  // namespace gsplit
