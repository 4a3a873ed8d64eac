// How fast a count that grows has grown of late.
#pragma once

#include <chrono>
#include <deque>

namespace gsplit {

class RateWindow {
 public:
  using Clock = std::chrono::steady_clock;

  /// The count at a time, in order of time; one that has begun anew begins the window anew.
  void add(Clock::time_point time, double count) {
    if (!samples_.empty() && count < samples_.back().count) samples_.clear();
    // Of samples close to each other the first and the latest are kept.
    if (samples_.size() > 1 && time - samples_[samples_.size() - 2].time < kSpacing) {
      samples_.pop_back();
    }
    samples_.push_back({time, count});
    while (samples_.size() > 2 && time - samples_[1].time >= kWindow) samples_.pop_front();
  }

  /// Mean over the last ten seconds or so; 0 before there are two samples.
  double per_second() const {
    if (samples_.size() < 2) return 0;
    const std::chrono::duration<double> passed = samples_.back().time - samples_.front().time;
    if (passed.count() <= 0) return 0;
    return (samples_.back().count - samples_.front().count) / passed.count();
  }

 private:
  static constexpr std::chrono::milliseconds kSpacing{500};
  static constexpr std::chrono::seconds kWindow{10};

  struct Sample {
    Clock::time_point time;
    double count = 0;
  };
  std::deque<Sample> samples_;
};

}  // namespace gsplit
