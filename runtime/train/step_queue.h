// Steps on their way from the StepPreparer to who computes them: prepared when they are asked for
// by a thread of its own, or where there is none when they are taken.
//
// One thread asks, takes and gives back; only the thread that prepares makes and destroys steps, so
// the memory that they lie in is used by one thread.
#pragma once

#include <condition_variable>
#include <deque>
#include <exception>
#include <memory>
#include <mutex>
#include <thread>

#include "runtime/control/progress.h"
#include "runtime/train/step_preparer.h"

namespace gsplit {

class StepQueue {
 public:
  /// References must outlive it.
  StepQueue(StepPreparer& preparer, const ModelNeeds& needs, bool has_thread);
  /// Ends the thread after the step that it prepares; where that waits for other workers, who may
  /// be gone, the communicator must have been aborted.
  ~StepQueue();
  StepQueue(const StepQueue&) = delete;
  StepQueue& operator=(const StepQueue&) = delete;

  bool has_thread() const { return thread_.joinable(); }
  /// Whether all that was asked for has been taken.
  bool empty() const { return asked_for_ == 0; }
  void ask(const StepPlan& plan);
  /// The oldest step asked for, valid until give_back(). Throws what preparing it threw, after
  /// which nothing more can be taken. Meanwhile `progress` shows where the preparing stands.
  /// REQUIRES: not empty(), and what was taken before has been given back.
  PreparedStep& take(Progress& progress);
  /// Of what was taken last. REQUIRES: all that reads it stands before its event `done`.
  void give_back();
  /// Waits for all that was asked for and drops it.
  void drop();

 private:
  using Lock = std::unique_lock<std::mutex>;

  /// The thread.
  void run();
  /// Unlocked meanwhile.
  void prepare_next(Lock& lock);
  void retire_read(Lock& lock);
  bool is_ready() const { return !ready_.empty() || failure_ != nullptr; }

  StepPreparer& preparer_;
  const ModelNeeds& needs_;
  std::size_t asked_for_ = 0;  // and not taken; of the thread that asks

  std::mutex mutex_;  // of what follows
  std::condition_variable changed_;
  std::deque<StepPlan> plans_;
  std::deque<std::unique_ptr<PreparedStep>> ready_;
  std::unique_ptr<PreparedStep> taken_;
  std::deque<std::unique_ptr<PreparedStep>> read_;
  std::exception_ptr failure_;
  bool idle_ = true;
  bool ending_ = false;

  std::thread thread_;
};

}  // namespace gsplit
