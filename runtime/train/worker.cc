#include "runtime/train/worker.h"

#include <fmt/core.h>

#include <algorithm>
#include <thread>
#include <utility>

#include "partition/prepare.h"
#include "runtime/train/class_weights.h"
#include "runtime/train/divergence.h"
#include "runtime/train/dry_run.h"
#include "runtime/train/flag_differences.h"
#include "runtime/train/meeting.h"
#include "runtime/train/patience.h"
#include "runtime/train/resources.h"
#include "runtime/train/safetensors.h"
#include "runtime/train/settle_mode.h"
#include "runtime/train/weights.h"

namespace gsplit {
namespace {

constexpr std::uint64_t kDryRunBatches = 8;
/// For the coordinator to tell a failure to a worker that sees its effects.
constexpr std::chrono::milliseconds kPatienceForWord{1000};

PrepareOptions prepare_options(const TrainConfig& config, int parts, int threads) {
  return {.parts = parts,
          .method = partition_method_from_name(config.partition),
          .fanout = config.fanout,
          .sampler = sampler_from_name(config.sampler),
          .batch_size = config.batch_size,
          .seed = config.seed,
          .threads = threads};
}

/// Of the batches that a worker samples: with --mode data its slices.
PresampleOptions presample_options(const TrainConfig& config, int workers, int threads) {
  const auto slices = static_cast<std::uint32_t>(config.mode == "data" ? workers : 1);
  return {.fanout = config.fanout,
          .sampler = sampler_from_name(config.sampler),
          .batch_size = (config.batch_size + slices - 1) / slices,
          .seed = config.seed,
          .threads = threads};
}

PlannerOptions planner_options(const TrainConfig& config, int workers) {
  return {.seed = config.seed,
          .batch_size = config.batch_size,
          .epochs = config.epochs,
          .max_steps = config.max_steps,
          .drop_last = config.drop_last,
          .slices = static_cast<std::uint32_t>(workers / config.owners_among(workers))};
}

void check_group_size(const TrainConfig& config, int workers) {
  if (workers % config.owners_among(workers) == 0) return;
  throw UsageError(
      fmt::format("--group-size {} does not divide the {} workers", config.group_size, workers),
      "give a divisor of their number");
}

LrScheduleOptions lr_schedule(const TrainConfig& config, const JoinResult& job) {
  return {.name = config.lr_schedule,
          .base = config.lr,
          .warmup_steps = config.warmup_steps,
          .steps_per_epoch = job.steps_per_epoch,
          .epochs_per_drop = config.lr_step_epochs,
          .gamma = config.lr_gamma,
          .total_steps = job.total_steps};
}

/// What can be found wrong before the long work begins.
void check_before_partitioning(const TrainConfig& config, const RunData& data) {
  check_class_weights(config.class_weights, data.num_classes);
  if (config.sampler == "weighted") require_edge_weights(!data.edge_weights.empty());
  if (config.early_stop > 0 && data.num_validation == 0) {
    throw UsageError("--early-stop needs validation nodes, and the dataset has none",
                     "leave --early-stop away");
  }
}

/// Each worker has columns of its own.
void check_columns(const TrainConfig& config, const RunData& data, int workers) {
  const auto width = static_cast<std::int64_t>(data.feature_width);
  if (config.mode != "p3" || workers <= width) return;
  throw UsageError(fmt::format("--mode p3 with {} workers for {} feature columns", workers, width),
                   "start at most as many workers as there are columns");
}

/// Says what becomes of the dataset's edge weights, where it has some.
void log_edge_weights(const TrainConfig& config, const RunData& data, const Log& log) {
  if (data.edge_weights.empty()) return;
  const std::string& file = data.edge_weights;
  if (config.sampler == "weighted") {
    log.info("edge weights: " + file + " steer the sampler; the neighbours drawn count alike");
  } else if (config.uses_edge_weights()) {
    log.info("edge weights: " + config.model + " uses " + file);
  } else if (config.edge_weights == "none") {
    log.info("edge weights: " + file + " left aside by --edge-weights none");
  } else {
    log.info("edge weights: " + config.model + " ignores " + file);
  }
}

/// What `open` opens may be this host's own: a fault of it names the host, where there are several.
template <class Open>
auto opened_here(bool several_hosts, const Open& open) {
  try {
    return open();
  } catch (const UsageError& error) {
    if (!several_hosts) throw;
    throw UsageError("on " + host_name() + ": " + error.what());
  }
}

void log_unused_partition(const TrainConfig& config, int workers, const Log& log) {
  const bool whole = workers > 1 && config.owners_among(workers) == 1;
  if (!whole || config.partition == "auto" || names_directory(config.partition)) return;
  log.info("mode " + config.mode + ": every worker has the whole graph; --partition " +
           config.partition + " plays no part");
}

Partition open_partition(const TrainConfig& config, const RunData& data, int workers, int threads,
                         const Log& log) {
  const int parts = config.owners_among(workers);
  if (!names_directory(config.partition)) {
    return prepare_partition(*data.dataset, prepare_options(config, parts, threads), log);
  }
  Partition partition = Partition::open(on_this_host(config.partition));
  if (partition.info().num_parts != parts) {
    const std::string has = "--partition " + config.partition + " has " +
                            std::to_string(partition.info().num_parts) + " parts";
    if (parts == 1 && workers > 1) {
      throw UsageError(
          has + ", and with --mode " + config.mode + " every worker needs the whole graph",
          "leave --partition away, or give one of one part");
    }
    if (parts < workers) {
      throw UsageError(has + " for groups of " + std::to_string(parts) + " workers",
                       "give as many parts as --group-size, or leave --partition away");
    }
    throw UsageError(has + " for " + std::to_string(workers) + " workers",
                     "start as many workers as parts, or partition again");
  }
  if (partition.info().dataset_fingerprint != data.fingerprint) {
    throw UsageError("--partition " + config.partition + " was made from another dataset than " +
                         data.dataset->directory.string(),
                     "partition this dataset again");
  }
  return partition;
}

}  // namespace

Worker::Worker(const TrainConfig& config, Communicator& communicator, const WorkerPlace& place,
               Supervisor& supervisor, const Log& log)
    : config_(config),
      communicator_(communicator),
      place_(place),
      supervisor_(supervisor),
      log_(log),
      device_(config, place, threads_per_worker(config.threads, place.cores)),
      stream_(device_.compute().memory().create_stream()),
      early_stopping_(config.early_stop) {
  progress_.fault = Fault::from_environment(communicator.rank());
  progress_.tracer = &tracer_;
  communicator.trace_with(&tracer_);
}

Worker::~Worker() { communicator_.trace_with(nullptr); }

ExitCode Worker::run() {
  try {
    meet();
    prepare();
    build();
    const ExitCode code = config_.dry_run ? estimate() : train();
    const PhaseScope phase(progress_, Phase::kFinished);
    communicator_.barrier();  // so far everybody listens for failures
    client_->report_finished();
    communicator_.barrier();  // rank 0 serves until everybody has left
    return code;
  } catch (const CommunicationError& error) {
    fail_missing(error);
  } catch (const Error& error) {
    fail(error.what(), error.code());
  } catch (const std::exception& error) {
    fail(error.what(), ExitCode::kSystem);
  }
}

void Worker::fail(const std::string& message, ExitCode code) {
  if (client_) client_->report_failure(message, static_cast<int>(code));
  communicator_.abort(message);
  leave({.rank = communicator_.rank(),
         .host = host_name(),
         .phase = progress_.phase,
         .step = progress_.step,
         .message = message,
         .exit_code = static_cast<int>(code)});
}

/// Whoever caused it knows more than we do, so the coordinator has the first word.
void Worker::fail_missing(const CommunicationError& error) {
  // NCCL cannot tell who is missing; the coordinator can. It is told at once: the others see this
  // rank leave, and wait for the word.
  if (error.peer() == CommunicationError::kSomePeer && client_) {
    client_->report_missing(error.what());
  }
  if (error.peer() < 0 && !(client_ && await_failure(kPatienceForWord))) {
    fail(error.what(), error.code());
  }
  if (client_ && !await_failure(kPatienceForWord) && !error.told_by_peer()) {
    client_->report_loss(error.peer(), error.what());
    await_failure(kPatienceForWord);
  }
  if (!client_ && error.told_by_peer()) throw Error(error.code(), "");  // the peer speaks
  communicator_.abort(error.what());
  leave({.rank = error.peer(),
         .phase = progress_.phase,
         .step = progress_.step,
         .message = std::string("lost: ") + error.what() + "; run it again with --resume"});
}

/// `failure`: what is known here, unless the coordinator knows more.
void Worker::leave(const WorkerFailure& failure) {
  if (coordinator_) coordinator_->linger_after_failure(kPatienceForWord);
  const std::optional<WorkerFailure> told = client_ ? client_->failure() : std::nullopt;
  supervisor_.failed(told.value_or(failure));
  throw Error(ExitCode{told.value_or(failure).exit_code}, "");
}

bool Worker::await_failure(std::chrono::milliseconds patience) const {
  const auto end = std::chrono::steady_clock::now() + patience;
  while (!client_->failure() && std::chrono::steady_clock::now() < end) {
    std::this_thread::sleep_for(std::chrono::milliseconds(5));
  }
  return client_->failure().has_value();
}

void Worker::meet() {
  const PhaseScope phase(progress_, Phase::kStarting);
  const bool apart = !config_.coordinator.empty();
  CoordinatorOptions coordinator;
  if (!apart) coordinator = coordinator_options(config_, place_, communicator_);
  Meeting meeting;
  if (leads()) {
    if (!apart) {
      coordinator_ = std::make_unique<Coordinator>(coordinator);
      meeting.contact = coordinator_->contact();
    }
    meeting.word = supervisor_.share_word();
  }
  const Contact given = apart ? given_contact(config_) : Contact{};
  meeting = broadcast_meeting(meeting, communicator_);
  if (apart) meeting.contact = given;
  supervisor_.adopt_word(meeting.word);
  leave_card(meeting.contact);
  client_ = std::make_unique<CoordinatorClient>(
      ClientOptions{
          .contact = meeting.contact,
          .rank = communicator_.rank(),
          .world_size = communicator_.size(),
          .host = host_name(),
          .device = device_.compute().describe(),
          .deadline = config_.deadline,
          .apart = apart,
          .stop_reason = [this] { return supervisor_.stop_reason(); },
          .on_failure = [this](const WorkerFailure& failure) { supervisor_.failed(failure); }},
      progress_);
  communicator_.barrier();  // who has not come so far is missed within the deadline
  supervisor_.note_met();
  require_same_flags();
  if (leads() && !config_.metrics_port.empty() && !config_.dry_run) serve_metrics();
}

void Worker::serve_metrics() {
  const MetricsAddress where = MetricsAddress::parse(config_.metrics_port);
  metrics_ = std::make_unique<JobMetrics>(where, coordinator_.get());
  log_.info("metrics: http://" + metrics_->address() + "/metrics");
  if (!where.is_loopback()) {
    log_.warning("--metrics-port " + config_.metrics_port +
                 ": whoever reaches this port can read the run's figures");
  }
}

/// The coordinator has left one on its own host.
void Worker::leave_card(const Contact& contact) {
  coordinator_address_ = contact.first_address();
  if (leads()) {
    log_.info("coordinator: " + coordinator_address_);
    if (!coordinator_ || coordinator_->card_problem().empty()) return;
    log_.warning("gsplit status and stop will not find the token: " + coordinator_->card_problem());
  } else if (place_.local_rank == 0 && config_.coordinator.empty()) {
    card_.emplace(contact);
  }
}

void Worker::require_same_flags() {
  const std::string mine = shared_flags(config_);
  std::string first = mine;
  std::uint64_t size = first.size();
  communicator_.broadcast(std::as_writable_bytes(std::span(&size, 1)), 0);
  first.resize(size);
  communicator_.broadcast(std::as_writable_bytes(std::span(first)), 0);
  for (const FlagDifference& flag : rank_differences(first, mine)) {
    throw UsageError("rank " + std::to_string(communicator_.rank()) + " on " + host_name() +
                         " was started with --" + flag.name + " " + flag.now + ", rank 0 with " +
                         flag.before,
                     "start all ranks with the same flags");
  }
}

void Worker::prepare() {
  const PhaseScope phase(progress_, Phase::kPartition);
  if (leads()) {
    check_run_directory(config_.run_dir, config_.overwrite, config_.resume);
    run_directory_ = std::make_unique<RunDirectory>(config_.run_dir);
  }
  data_ = opened_here(has_other_hosts(), [this] { return open_run_data(config_); });
  Planner::check(data_.num_train, planner_options(config_, communicator_.size()));
  const int threads = threads_per_worker(config_.threads, num_allowed_cores());
  const auto open = [&](const Log& log) {
    partition_ = open_partition(config_, data_, communicator_.size(), threads, log);
    shard_ = opened_here(has_other_hosts(), [this] { return Shard::open(partition_, part()); });
    count_reads(threads, log);
  };
  if (leads()) {
    check_before_partitioning(config_, data_);
    find_beginning();
    settle_mode(config_, data_.dataset ? &*data_.dataset : nullptr, communicator_.size(), place_,
                log_);
    check_group_size(config_, communicator_.size());
    check_columns(config_, data_, communicator_.size());
    log_edge_weights(config_, data_, log_);
    log_unused_partition(config_, communicator_.size(), log_);
    open(log_);
    open_job();
  }
  job_ = client_->join(GSPLIT_VERSION, data_.fingerprint);
  share_mode(config_, communicator_);
  const Patience patience(communicator_, kPatienceForPartitioning);
  if (!leads()) open(Log{});
  require_same_partition(partition_, communicator_);
  // A run goes on with what `auto` chose once.
  const PartitionInfo& info = partition_.info();
  if (config_.partition == "auto" && info.num_parts > 1) config_.partition = info.method;
}

void Worker::count_reads(int threads, const Log& log) {
  const PresampleOptions presample = presample_options(config_, communicator_.size(), threads);
  if (config_.cache != "none") {
    reads_ = prepare_read_counts(*data_.dataset, partition_, presample, log);
  } else if (data_.dataset &&
             DeviceData::would_cache(device_data_options(config_), shard_, partition_.info(),
                                     device_.compute().memory())) {
    loads_ = prepare_load_counts(*data_.dataset, partition_.info(), presample, log);
  }
}

void Worker::open_job() {
  const PlannerOptions options = planner_options(config_, communicator_.size());
  const auto& bounds = partition_.info().bounds;
  if (coordinator_) {
    coordinator_->open(
        {std::make_shared<Planner>(partition_.train_seeds(), bounds, options), data_.fingerprint});
  } else {
    client_->open({partition_.train_seeds(), bounds, options, data_.fingerprint});
  }
}

void Worker::find_beginning() {
  adopt_recorded_mode(config_);
  if (config_.resume) {
    if (run_directory_->holds_run()) run_directory_->lock();
    resumed_ = find_checkpoint(config_, data_.fingerprint, log_);
  }
  if (!resumed_ && !config_.init_from.empty()) {
    SafetensorsFile::open(weights_file_of(config_.init_from));
  }
}

void Worker::build() {
  const Patience patience(communicator_, kPatienceForFiles);
  std::optional<Patience> patience_ahead;
  bound_.emplace(place_.bound_to, threads_per_worker(config_.threads, num_allowed_cores()));
  if (leads() && !place_.bound_to.empty()) {
    log_.info("workers are bound to cores of their own, rank 0 to " + describe(place_.bound_to));
  }
  lr_schedule_ = lr_schedule(config_, job_);
  row_traffic_ = connect(communicator_, [this] { progress_.come_to_exchange_of_all(); });
  const ConnectGroup connect_group = [this](Communicator& group) {
    return connect(group, [this] { progress_.come_to_exchange_of_group(); });
  };
  groups_ = std::make_unique<WorkerGroups>(
      AllWorkers{communicator_, *row_traffic_, connect_group, config_.deadline},
      partition_.info().num_parts, progress_);
  context_.emplace(Context{device_.compute(),
                           device_.host(),
                           *stream_,
                           communicator_,
                           *row_traffic_,
                           progress_,
                           {},
                           groups_->owners(),
                           groups_->owner_traffic(),
                           groups_->replicas(),
                           config_.wire == "bf16"});
  steps_ahead_ = config_.dry_run ? 0 : steps_ahead(config_, place_, communicator_);
  if (steps_ahead_ > 0) {
    ahead_ = std::make_unique<Ahead>(config_, place_, partition_.info().num_parts, communicator_,
                                     &tracer_);
    patience_ahead.emplace(ahead_->context().communicator, kPatienceForFiles);
  }
  trainer_ = std::make_unique<Trainer>(
      config_, shard_, partition_.info().bounds,
      static_cast<std::int64_t>(partition_.info().num_classes), *context_,
      TrainerOptions{
          .hotness = {.reads = reads_ ? &*reads_ : nullptr, .loads = loads_ ? &*loads_ : nullptr},
          .ahead = ahead_ ? &ahead_->context() : nullptr});
  if (leads() && !context_->memory().host_accessible()) {
    log_.info("GPU data: " + trainer_->device_data().describe());
  }
  checkpointer_ = std::make_unique<Checkpointer>(config_, trainer_->model().parameters(),
                                                 trainer_->optimizer_state(), *context_);
  restore();
  evaluator_ = std::make_unique<Evaluator>(
      EvaluatorOptions{.fanout = config_.eval_fanout,
                       .sampler = sampler_from_name(config_.sampler),
                       .seed = config_.seed,
                       .local_workers = place_.local_workers,
                       .device = trainer_->device_data().topology() != nullptr
                                     ? &trainer_->device_data()
                                     : nullptr},
      shard_, trainer_->input_rows(), trainer_->model(), trainer_->sampler(), *context_);
  if (!config_.dump_blocks.empty() && !config_.dry_run) {
    dump_ = std::make_unique<BlockDump>(config_.dump_blocks, shard_, *context_);
  }
  if (leads() && !config_.dry_run) {
    const RunFacts facts{.world = communicator_.size(),
                         .device = device_.compute().describe(),
                         .dataset_name = data_.name,
                         .dataset_fingerprint = data_.fingerprint,
                         .task = shard_.task(),
                         .coordinator = coordinator_address_,
                         .metrics = metrics_ ? metrics_->address() : "",
                         .total_steps = job_.total_steps,
                         .steps_per_epoch = job_.steps_per_epoch,
                         .num_parameters = trainer_->model().parameters().num_elements()};
    recorder_ = std::make_unique<Recorder>(config_, facts, *run_directory_,
                                           resumed_ ? &*resumed_ : nullptr, log_);
  }
  communicator_.barrier();  // the next who waits does so with less patience
}

std::shared_ptr<DeviceCommunicator> Worker::connect(Communicator& workers,
                                                    std::function<void()> coming) {
  return device_.connect(workers, *stream_, config_.deadline,
                         {.job_has_failed = [this] { return client_->failure().has_value(); },
                          .coming = std::move(coming)});
}

void Worker::restore() {
  if (config_.resume) {
    const LoopState state = checkpointer_->restore(resumed_);
    steps_done_ = state.step;
    evaluated_last_ = state.evaluated;
    early_stopping_.restore(state.early_stopping);
  }
  if (steps_done_ == 0 && !config_.init_from.empty()) load_initial_weights();
}

void Worker::load_initial_weights() {
  ParameterSet& parameters = trainer_->model().parameters();
  if (leads()) load_weights(weights_file_of(config_.init_from), parameters);
  broadcast_from_first(parameters, parameters.values(), communicator_);
}

ExitCode Worker::train() {
  const PhaseScope phase(progress_, Phase::kWaitingForPlan);  // unless something else is entered
  plans_ = client_->stream_plans(steps_done_ + 1);
  trace_ = std::make_unique<RunTrace>(TraceSteps::parse(config_.trace_steps),
                                      StepRange{steps_done_ + 1, job_.total_steps}, tracer_,
                                      communicator_, config_.run_dir / "trace.json", log_);
  while (!early_stopping_.ended()) {
    const TracedStep traced(*trace_, steps_done_ + 1);
    const std::optional<StepPlan> plan = next_step();
    if (!plan) break;
    StepReport own = run_step(*plan);
    own.checkpoint_due = leads() && checkpointer_->minutes_are_over();
    own.stop = client_->stop_requested() || !supervisor_.stop_reason().empty();
    const std::vector<StepReport> reports = gather(own);
    const StepReport total = combine(reports);
    check_loss(*plan, total);
    if (recorder_) recorder_->step(*plan, reports);
    if (metrics_) metrics_->note_step(*plan, total);
    steps_done_ = plan->step;
    if (plan->last_of_epoch) end_epoch(*plan);
    if (total.checkpoint_due || checkpointer_->due(steps_done_)) save_checkpoint();
    if (total.stop) break;
  }
  trainer_->drop_prepared();
  return finish();
}

std::optional<StepPlan> Worker::next_step() {
  if (coming_.empty()) fetch_plan();
  // All workers are given the same plans, so they prepare the same steps.
  while (!coming_.empty() && coming_.size() <= static_cast<std::size_t>(steps_ahead_)) {
    if (!fetch_plan()) break;
  }
  if (coming_.empty()) return std::nullopt;
  StepPlan plan = std::move(coming_.front());
  coming_.pop_front();
  return plan;
}

bool Worker::fetch_plan() {
  std::optional<StepPlan> plan = plans_ended_ ? std::nullopt : next_plan();
  plans_ended_ = !plan;
  if (!plan) return false;
  if (ahead_) trainer_->prepare_ahead(*plan);
  coming_.push_back(std::move(*plan));
  return true;
}

ExitCode Worker::finish() {
  trace_->finish();
  const bool early = steps_done_ < job_.total_steps;
  // All know it alike: from the reports of the last step, or because the coordinator has ended the
  // plans of all workers after the same step.
  const bool stopped = early && !early_stopping_.ended();
  const std::string reason = stopped ? stop_reason() : "";
  save_checkpoint();
  if (dump_) dump_->commit();
  const std::optional<Scores> scores = evaluate(!stopped && !evaluated_last_);
  const PhaseScope phase(progress_, Phase::kCheckpoint);
  if (recorder_) {
    recorder_->finish(
        {.status = stopped ? "stopped" : (early ? "early_stop" : "done"), .reason = reason}, scores,
        trainer_->model().parameters());
  }
  await_files(communicator_);
  return stopped ? ExitCode::kStopped : ExitCode::kDone;
}

std::string Worker::stop_reason() {
  std::string mine = supervisor_.stop_reason();
  if (mine.empty()) mine = client_->stop_reason();
  for (const auto& bytes : communicator_.all_gather_v(std::as_bytes(std::span(mine)))) {
    if (bytes.empty()) continue;
    return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
  }
  return coordinator_ ? coordinator_->stop_reason() : "";
}

void Worker::save_checkpoint() {
  checkpointer_->save({.step = steps_done_,
                       .evaluated = evaluated_last_,
                       .early_stopping = early_stopping_.state()},
                      recorder_.get());
  if (metrics_) metrics_->note_checkpoint(steps_done_);
}

ExitCode Worker::estimate() {
  plans_ = client_->stream_plans(1);
  DryRun dry_run(config_, partition_, shard_, *trainer_);
  for (std::uint64_t i = 0; i < std::min(kDryRunBatches, job_.total_steps); ++i) {
    const std::optional<StepPlan> plan = next_plan();
    if (!plan) return ExitCode::kStopped;
    dry_run.sample(*plan);
  }
  const std::vector<WorkerEstimate> workers = communicator_.all_gather_value(dry_run.estimate());
  if (leads()) {
    print_dry_run(config_, partition_, {job_.total_steps, job_.steps_per_epoch}, workers, log_);
  }
  return ExitCode::kDone;
}

std::optional<StepPlan> Worker::next_plan() {
  const PhaseScope phase(progress_, Phase::kWaitingForPlan);
  return plans_->next();
}

StepReport Worker::run_step(const StepPlan& plan) {
  StepReport report = trainer_->step(plan, learning_rate(lr_schedule_, plan.step));
  const double waited = plans_->seconds_waited();
  report.plan_wait_s = waited - std::exchange(plan_wait_s_, waited);
  if (dump_) dump_->write(plan.step, trainer_->sample_drawn_edges(plan));
  evaluated_last_ = false;
  return report;
}

std::vector<StepReport> Worker::gather(const StepReport& own) {
  const PhaseScope phase(progress_, Phase::kExchange);
  return communicator_.all_gather_value(own);
}

void Worker::check_loss(const StepPlan& plan, const StepReport& total) {
  const PhaseScope phase(progress_, Phase::kCompute);  // for the report of the failure
  require_finite_loss(plan, total);
}

void Worker::end_epoch(const StepPlan& plan) {
  const bool last_step = plan.step == job_.total_steps;
  const bool due = config_.eval_every > 0 && (plan.epoch % config_.eval_every == 0 || last_step);
  const std::optional<Scores> scores = evaluate(due);
  evaluated_last_ = scores.has_value();
  const std::vector<std::uint64_t> rss = communicator_.all_gather_value(peak_rss_bytes());
  record_epoch(plan.epoch, scores, *std::max_element(rss.begin(), rss.end()));
  if (metrics_ && scores && scores->validation.nodes > 0) {
    metrics_->note_validation(scores->validation.accuracy());
  }
  if (scores) early_stopping_.note(plan.epoch, scores->validation);
}

void Worker::record_epoch(std::uint32_t epoch, const std::optional<Scores>& scores,
                          std::uint64_t peak_rss) {
  const PhaseScope phase(progress_, scores ? Phase::kCheckpoint : progress_.phase.load());
  if (recorder_) recorder_->epoch(epoch, scores, peak_rss, trainer_->model().parameters());
  if (scores) await_files(communicator_);  // the best weights so far
}

std::optional<Scores> Worker::evaluate(bool due) {
  if (!due) return std::nullopt;
  return evaluator_->scores();
}

}  // namespace gsplit
