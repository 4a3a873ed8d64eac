#include "runtime/train/step_queue.h"

#include <chrono>
#include <utility>

namespace gsplit {
namespace {

/// Between two looks at where the preparing stands.
constexpr std::chrono::milliseconds kGlance{10};

}  // namespace

StepQueue::StepQueue(StepPreparer& preparer, const ModelNeeds& needs, bool has_thread)
    : preparer_(preparer), needs_(needs) {
  if (has_thread) thread_ = std::thread([this] { run(); });
}

StepQueue::~StepQueue() {
  if (!thread_.joinable()) return;
  {
    const Lock lock(mutex_);
    ending_ = true;
    changed_.notify_all();
  }
  thread_.join();
}

void StepQueue::ask(const StepPlan& plan) {
  const Lock lock(mutex_);
  plans_.push_back(plan);
  ++asked_for_;
  changed_.notify_all();
}

PreparedStep& StepQueue::take(Progress& progress) {
  GSPLIT_CHECK(asked_for_ > 0 && !taken_);
  Lock lock(mutex_);
  if (!has_thread() && !is_ready()) prepare_next(lock);
  const Phase before = progress.phase;
  while (!changed_.wait_for(lock, kGlance, [&] { return is_ready(); })) {
    progress.phase = preparer_.context().progress.phase.load();
    progress.step = preparer_.context().progress.step.load();
  }
  if (ready_.empty()) {
    progress.phase = preparer_.context().progress.phase.load();
    progress.step = preparer_.context().progress.step.load();
    std::rethrow_exception(failure_);
  }
  progress.phase = before;
  --asked_for_;
  taken_ = std::move(ready_.front());
  ready_.pop_front();
  return *taken_;
}

void StepQueue::give_back() {
  Lock lock(mutex_);
  read_.push_back(std::move(taken_));
  changed_.notify_all();
  if (!has_thread()) retire_read(lock);
}

void StepQueue::drop() {
  if (!has_thread()) return;
  Lock lock(mutex_);
  changed_.wait(lock, [&] { return idle_ && plans_.empty() && read_.empty(); });
  if (failure_) std::rethrow_exception(failure_);
  for (std::unique_ptr<PreparedStep>& step : ready_) read_.push_back(std::move(step));
  ready_.clear();
  asked_for_ = 0;
  changed_.notify_all();
  changed_.wait(lock, [&] { return idle_ && read_.empty(); });
}

void StepQueue::run() {
  preparer_.context().backend.enter_thread();
  preparer_.context().host.enter_thread();
  Lock lock(mutex_);
  while (true) {
    idle_ = true;
    changed_.notify_all();
    changed_.wait(lock, [&] {
      return ending_ || !read_.empty() || (!plans_.empty() && failure_ == nullptr);
    });
    idle_ = false;
    // What has been read goes first: its memory serves the next.
    if (!read_.empty()) {
      retire_read(lock);
    } else if (ending_) {
      break;
    } else {
      prepare_next(lock);
    }
  }
  ready_.clear();
}

void StepQueue::prepare_next(Lock& lock) {
  const StepPlan plan = std::move(plans_.front());
  plans_.pop_front();
  lock.unlock();
  std::unique_ptr<PreparedStep> step;
  std::exception_ptr failure;
  try {
    step = preparer_.prepare(plan, needs_);
  } catch (...) {
    failure = std::current_exception();
  }
  lock.lock();
  if (step) ready_.push_back(std::move(step));
  failure_ = failure;
  changed_.notify_all();
}

void StepQueue::retire_read(Lock& lock) {
  std::deque<std::unique_ptr<PreparedStep>> read = std::exchange(read_, {});
  lock.unlock();
  for (std::unique_ptr<PreparedStep>& step : read) preparer_.retire(std::move(step));
  lock.lock();
}

}  // namespace gsplit
