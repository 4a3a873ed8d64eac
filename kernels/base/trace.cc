#include "kernels/base/trace.h"

#include <algorithm>
#include <chrono>
#include <cstring>
#include <utility>

namespace gsplit {

std::int64_t Tracer::now() {
  const auto since = std::chrono::steady_clock::now().time_since_epoch();
  return std::chrono::duration_cast<std::chrono::nanoseconds>(since).count();
}

void Tracer::start(std::uint64_t step) {
  const std::lock_guard lock(mutex_);
  step_ = step;
  if (threads_.empty()) threads_.push_back(std::this_thread::get_id());
  on_.store(true, std::memory_order_relaxed);
}

void Tracer::stop() { on_.store(false, std::memory_order_relaxed); }

void Tracer::record(TraceRecord record) {
  const std::lock_guard lock(mutex_);
  if (records_.size() >= kMostRecords) {
    ++lost_;
    return;
  }
  const std::thread::id self = std::this_thread::get_id();
  const auto thread = std::find(threads_.begin(), threads_.end(), self);
  record.thread = static_cast<std::uint32_t>(thread - threads_.begin());
  if (thread == threads_.end()) threads_.push_back(self);
  record.step = step_;
  records_.push_back(record);
}

std::vector<TraceRecord> Tracer::take() {
  const std::lock_guard lock(mutex_);
  return std::exchange(records_, {});
}

std::uint64_t Tracer::num_lost() const {
  const std::lock_guard lock(mutex_);
  return lost_;
}

void TraceSpan::end() noexcept {
  TraceRecord record{
      .begin_ns = begin_ns_, .end_ns = Tracer::now(), .bytes = bytes_, .layer = layer_};
  std::strncpy(record.name.data(), name_, record.name.size() - 1);
  try {
    tracer_->record(record);
  } catch (const std::exception&) {
    // Without memory for it there is no span.
  }
}

}  // namespace gsplit
