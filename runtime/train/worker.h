// One worker of a training run, from meeting the coordinator to the last event. All workers execute
// the same steps in the same order; rank 0 also hosts the coordinator, prepares the data and
// records.
#pragma once

#include <deque>
#include <functional>
#include <memory>
#include <optional>
#include <vector>

#include "comm/communicator.h"
#include "graph/dataset.h"
#include "graph/shard.h"
#include "kernels/base/log.h"
#include "partition/read_counts.h"
#include "runtime/control/client.h"
#include "runtime/control/coordinator.h"
#include "runtime/train/ahead.h"
#include "runtime/train/block_dump.h"
#include "runtime/train/checkpointer.h"
#include "runtime/train/config.h"
#include "runtime/train/device.h"
#include "runtime/train/early_stopping.h"
#include "runtime/train/evaluator.h"
#include "runtime/train/job_metrics.h"
#include "runtime/train/lr_schedule.h"
#include "runtime/train/recorder.h"
#include "runtime/train/run_data.h"
#include "runtime/train/run_trace.h"
#include "runtime/train/supervisor.h"
#include "runtime/train/trainer.h"
#include "runtime/train/worker_groups.h"

namespace gsplit {

class Worker {
 public:
  /// `config`: with its device settled. References must outlive the worker.
  Worker(const TrainConfig& config, Communicator& communicator, const WorkerPlace& place,
         Supervisor& supervisor, const Log& log);
  ~Worker();

  /// The whole run. A failure is reported to the coordinator, the peers and the supervisor, who
  /// tells the user, before it is rethrown without a text.
  ExitCode run();

 private:
  bool leads() const { return communicator_.rank() == 0; }
  bool has_other_hosts() const { return place_.local_workers < communicator_.size(); }
  void meet();
  /// For `gsplit status` on this host.
  void leave_card(const Contact& contact);
  void serve_metrics();
  /// All ranks do the same steps only if they were told the same.
  void require_same_flags();
  void prepare();
  /// Rank 0: tells the coordinator what plans are made from.
  void open_job();
  /// What caches choose rows by.
  void count_reads(int threads, const Log& log);
  /// Rank 0: looks for what restore() is to begin from, before the long work.
  void find_beginning();
  /// What this worker holds: its part of the graph, or all of it.
  int part() const { return communicator_.rank() % partition_.info().num_parts; }
  void build();
  /// How device memory travels between `workers`, all or a group. `coming`: as in JobHooks.
  /// Collective over them.
  std::shared_ptr<DeviceCommunicator> connect(Communicator& workers, std::function<void()> coming);
  /// Where training begins: the checkpoint's state, --init-from's weights or fresh ones. Files are
  /// read by rank 0 alone.
  void restore();
  void load_initial_weights();
  ExitCode train();
  /// After the last step.
  ExitCode finish();
  /// In the place of train().
  ExitCode estimate();
  std::optional<StepPlan> next_plan();
  /// The plan of the step to compute next, while those that follow it are prepared.
  std::optional<StepPlan> next_step();
  /// Puts one more plan behind those that are coming; false where there is none.
  bool fetch_plan();
  StepReport run_step(const StepPlan& plan);
  std::vector<StepReport> gather(const StepReport& own);
  void check_loss(const StepPlan& plan, const StepReport& total);
  void end_epoch(const StepPlan& plan);
  void record_epoch(std::uint32_t epoch, const std::optional<Scores>& scores,
                    std::uint64_t peak_rss);
  void save_checkpoint();
  /// Collective: a signal to one of the workers, else what the coordinator was told (rank 0).
  std::string stop_reason();
  std::optional<Scores> evaluate(bool due);
  /// This worker's own failure, or its report that another one is missing.
  [[noreturn]] void fail(const std::string& message, ExitCode code);
  [[noreturn]] void fail_missing(const CommunicationError& error);
  [[noreturn]] void leave(const WorkerFailure& failure);
  /// Whether the job's failure has become known within the time.
  bool await_failure(std::chrono::milliseconds patience) const;

  TrainConfig config_;  // with what `auto` has become
  Communicator& communicator_;
  WorkerPlace place_;
  Supervisor& supervisor_;
  const Log& log_;
  Tracer tracer_;
  Progress progress_;
  WorkerDevice device_;
  std::unique_ptr<Stream> stream_;
  std::optional<BoundThreads> bound_;  // from build() on: what is prepared takes all cores

  std::unique_ptr<Coordinator> coordinator_;  // rank 0
  std::unique_ptr<JobMetrics> metrics_;       // rank 0, with --metrics-port
  std::unique_ptr<CoordinatorClient> client_;
  std::optional<ContactCard> card_;  // on hosts that rank 0 is not on
  std::string coordinator_address_;
  RunData data_;
  Partition partition_;
  std::optional<ReadCounts> reads_;  // with --cache
  std::optional<ReadCounts> loads_;  // where GPUs cache rows
  JoinResult job_;
  std::unique_ptr<PlanStream>
      plans_;  // open until the end: a worker that dies with it is missed at once

  Shard shard_;
  std::shared_ptr<DeviceCommunicator> row_traffic_;  // asks client_ until its end
  std::unique_ptr<WorkerGroups> groups_;
  std::optional<Context> context_;
  int steps_ahead_ = 0;
  std::unique_ptr<Ahead> ahead_;  // null: no step is prepared ahead
  std::unique_ptr<Trainer> trainer_;
  std::unique_ptr<Evaluator> evaluator_;
  std::unique_ptr<BlockDump> dump_;
  std::unique_ptr<Checkpointer> checkpointer_;
  std::unique_ptr<RunDirectory> run_directory_;  // rank 0, as the two below
  std::optional<Checkpoint> resumed_;
  std::unique_ptr<Recorder> recorder_;
  std::unique_ptr<RunTrace> trace_;
  LrScheduleOptions lr_schedule_;
  EarlyStopping early_stopping_;
  std::uint64_t steps_done_ = 0;
  bool evaluated_last_ = false;  // after the last of them
  double plan_wait_s_ = 0;       // of the plan stream so far
  std::deque<StepPlan> coming_;  // of the next steps
  bool plans_ended_ = false;
};

}  // namespace gsplit
