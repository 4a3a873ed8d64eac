#include "runtime/control/job_state.h"

#include <fmt/format.h>

#include <algorithm>
#include <utility>

#include "kernels/base/error.h"

namespace gsplit {

std::string WorkerFailure::describe() const {
  if (exit_code == static_cast<int>(ExitCode::kUsage) || rank < 0) return message;
  return fmt::format("rank {} on {} failed in {} at step {}: {}", rank,
                     host.empty() ? "an unknown host" : host, name_of(phase), step, message);
}

namespace {

/// Above this share of its time without a core a worker is late through no fault of its own.
constexpr double kStarved = 0.2;

/// What a worker that lives and is waited for has been doing.
std::string whereabouts(const WorkerRecord& worker) {
  if (!worker.contacted) return "";
  const std::chrono::duration<double> there = JobState::Clock::now() - worker.place_since;
  std::string text =
      fmt::format(" (it has been in {} for {:.1f} s", name_of(worker.phase), there.count());
  const double starved = worker.core_wait_rate.per_second();
  if (starved > kStarved) {
    text += fmt::format(", and had no core for {:.0f} % of the time: its host is overloaded",
                        100 * std::min(starved, 1.0));
  }
  return text + ")";
}

}  // namespace

JobState::JobState(const CoordinatorOptions& options, std::function<void()> changed)
    : options_(options),
      changed_(std::move(changed)),
      workers_(static_cast<std::size_t>(options.world_size)) {
  for (std::size_t rank = 0; rank < workers_.size(); ++rank) {
    workers_[rank].rank = static_cast<int>(rank);
  }
}

std::string JobState::refusal_of(const JoinClaim& claim) const {
  const std::string who = fmt::format("rank {} on {}", claim.rank, claim.host);
  if (claim.version != GSPLIT_VERSION) {
    return fmt::format(
        "{} runs gsplit {}, the coordinator {}; install the same version on every host", who,
        claim.version, GSPLIT_VERSION);
  }
  if (claim.world_size != workers_.size()) {
    return fmt::format(
        "{} belongs to a job of {} workers, the coordinator to one of {}; start all of them with "
        "the same number of workers",
        who, claim.world_size, workers_.size());
  }
  if (claim.rank >= workers_.size()) {
    return fmt::format("{} does not exist in a job of {} workers; number the ranks from 0", who,
                       workers_.size());
  }
  const WorkerRecord& holder = workers_[claim.rank];
  if (holder.contacted && holder.instance != claim.instance) {
    return fmt::format("{} is taken by another worker on {}; give each worker a rank of its own",
                       who, holder.host);
  }
  if (job_ && claim.dataset_fingerprint != job_->dataset_fingerprint) {
    return fmt::format(
        "{} has other data than the coordinator: fingerprint {:.12} against {:.12}; give every "
        "host the same dataset",
        who, claim.dataset_fingerprint, job_->dataset_fingerprint);
  }
  return "";
}

std::string JobState::missing_workers() const {
  std::string missing;
  for (const WorkerRecord& worker : workers_) {
    if (!worker.joined)
      missing += fmt::format("{}{}", missing.empty() ? "rank " : ", ", worker.rank);
  }
  return missing;
}

WorkerRecord* JobState::record_of(std::uint64_t rank, std::uint64_t instance,
                                  const std::string& host) {
  if (rank >= workers_.size()) return nullptr;
  WorkerRecord& worker = workers_[rank];
  if (!worker.contacted) {
    if (options_.apart && !anyone_contacted()) start_ = Clock::now();
    worker.contacted = true;
    worker.place_since = Clock::now();
    worker.instance = instance;
    worker.host = host;
  }
  if (worker.instance != instance) return nullptr;
  worker.last_contact = Clock::now();
  return &worker;
}

bool JobState::anyone_contacted() const {
  return std::any_of(workers_.begin(), workers_.end(),
                     [](const WorkerRecord& worker) { return worker.contacted; });
}

bool JobState::has_begun() const {
  const std::lock_guard lock(mutex_);
  return anyone_contacted();
}

bool JobState::everyone_has_finished() const {
  const std::lock_guard lock(mutex_);
  return std::all_of(workers_.begin(), workers_.end(),
                     [](const WorkerRecord& worker) { return worker.finished; });
}

bool JobState::attend(std::uint64_t rank, std::uint64_t instance, const std::string& host) {
  const std::lock_guard lock(mutex_);
  return record_of(rank, instance, host) != nullptr;
}

JoinAnswer JobState::join(const JoinClaim& claim) {
  JoinAnswer answer;
  bool failed = false;
  {
    const std::lock_guard lock(mutex_);
    answer.refusal = refusal_of(claim);
    if (!answer.refusal.empty()) {
      failed = set_failure({.rank = static_cast<int>(claim.rank),
                            .host = claim.host,
                            .message = answer.refusal,
                            .exit_code = static_cast<int>(ExitCode::kUsage)});
    } else {
      WorkerRecord* worker = record_of(claim.rank, claim.instance, claim.host);
      GSPLIT_CHECK(worker != nullptr);
      worker->joined = true;
      worker->device = claim.device;
      answer.waiting_for = job_ ? missing_workers() : "the data to be prepared";
      answer.ready = answer.waiting_for.empty();
      if (answer.ready) {
        answer.total_steps = job_->planner->total_steps();
        answer.steps_per_epoch = job_->planner->steps_per_epoch();
      }
    }
  }
  if (failed) changed_();
  return answer;
}

void JobState::heartbeat(const Beat& beat) {
  const std::lock_guard lock(mutex_);
  WorkerRecord* worker = record_of(beat.rank, beat.instance, beat.host);
  if (worker == nullptr || worker->finished) return;
  if (worker->phase != beat.phase || worker->step != beat.step) {
    worker->place_since = worker->last_contact;
  }
  worker->phase = beat.phase;
  worker->step = beat.step;
  worker->seeds_done = beat.seeds_done;
  worker->rss_bytes = beat.rss_bytes;
  worker->device_bytes = beat.device_bytes;
  worker->exchanges = beat.exchanges;
  // What is known of the others is older, so this is at most too little.
  std::uint64_t foremost = beat.step;
  for (const WorkerRecord& other : workers_) foremost = std::max(foremost, other.step);
  worker->steps_behind = foremost - beat.step;
  worker->seeds_rate.add(worker->last_contact, static_cast<double>(beat.seeds_done));
  worker->busy_rate.add(worker->last_contact, beat.busy_s);
  worker->core_wait_rate.add(worker->last_contact, beat.core_wait_s);
}

void JobState::finish(std::uint64_t rank) {
  {
    const std::lock_guard lock(mutex_);
    if (rank >= workers_.size()) return;
    workers_[rank].finished = true;
    workers_[rank].phase = Phase::kFinished;
  }
  changed_();
}

bool JobState::has_finished(std::uint64_t rank) const {
  const std::lock_guard lock(mutex_);
  return rank < workers_.size() && workers_[rank].finished;
}

void JobState::open(Job job) {
  {
    const std::lock_guard lock(mutex_);
    GSPLIT_CHECK(!job_ && job.planner);
    job_ = std::move(job);
  }
  changed_();
}

bool JobState::set_failure(const WorkerFailure& failure) {
  if (failure_) return false;
  failure_ = failure;
  return true;
}

void JobState::fail(const WorkerFailure& failure) {
  {
    const std::lock_guard lock(mutex_);
    WorkerFailure known = failure;
    const auto rank = static_cast<std::size_t>(failure.rank);
    if (failure.host.empty() && rank < workers_.size()) {
      known = loss_of(workers_[rank], failure.message + whereabouts(workers_[rank]));
    }
    if (!set_failure(known)) return;
  }
  changed_();
}

WorkerFailure JobState::loss_of(const WorkerRecord& worker, const std::string& how) const {
  return {.rank = worker.rank,
          .host = worker.host,
          .phase = worker.phase,
          .step = worker.step,
          .message = "lost: " + how + "; run it again with --resume"};
}

void JobState::lose(std::uint64_t rank, const std::string& how) {
  {
    const std::lock_guard lock(mutex_);
    if (rank >= workers_.size() || workers_[rank].finished) return;
    if (!set_failure(loss_of(workers_[rank], how))) return;
  }
  changed_();
}

void JobState::lose_the_last(std::uint64_t messenger, const std::string& how) {
  {
    const std::lock_guard lock(mutex_);
    if (messenger >= workers_.size()) return;
    const WorkerRecord& waiting = workers_[messenger];
    const WorkerRecord& last = *std::min_element(
        workers_.begin(), workers_.end(), [](const WorkerRecord& one, const WorkerRecord& other) {
          return one.exchanges < other.exchanges;
        });
    WorkerFailure failure = loss_of(last, how + whereabouts(last));
    if (last.exchanges >= waiting.exchanges) {
      failure = loss_of(waiting, how);
      failure.message = "a peer " + how + "; run it again with --resume";
    }
    if (!set_failure(failure)) return;
  }
  changed_();
}

JobState::Clock::time_point JobState::find_lost() {
  const Clock::time_point now = Clock::now();
  Clock::time_point next = now + options_.deadline;
  bool failed = false;
  {
    const std::lock_guard lock(mutex_);
    if (options_.apart && !anyone_contacted()) return next;
    for (const WorkerRecord& worker : workers_) {
      if (worker.finished) continue;
      const Clock::time_point expiry = worker.contacted ? worker.last_contact + options_.deadline
                                                        : start_ + 2 * options_.deadline;
      if (expiry > now) {
        next = std::min(next, expiry);
        continue;
      }
      const std::chrono::duration<double> silence =
          worker.contacted ? now - worker.last_contact : now - start_;
      failed |= set_failure(loss_of(
          worker,
          fmt::format("{} for {:.1f} s", worker.contacted ? "no heartbeat" : "never heard of",
                      silence.count())));
    }
  }
  if (failed) changed_();
  return next;
}

void JobState::tell_failure(std::uint64_t rank) {
  const std::lock_guard lock(mutex_);
  if (rank < workers_.size()) workers_[rank].knows_failure = true;
}

bool JobState::everyone_knows_failure() const {
  const std::lock_guard lock(mutex_);
  return std::all_of(workers_.begin(), workers_.end(), [this](const WorkerRecord& worker) {
    const bool is_source = failure_ && failure_->rank == worker.rank;
    return worker.knows_failure || worker.finished || is_source;
  });
}

std::uint64_t JobState::request_stop(const std::string& reason) {
  std::uint64_t last_step = 0;
  {
    const std::lock_guard lock(mutex_);
    if (stop_after_) return *stop_after_;
    stop_after_ = last_step = last_sent_;
    stop_reason_ = reason;
  }
  changed_();
  return last_step;
}

Turn JobState::take_turn(std::uint64_t step, std::uint64_t through) {
  const std::lock_guard lock(mutex_);
  GSPLIT_CHECK(job_.has_value());
  const std::uint64_t total = job_->planner->total_steps();
  if (step > total) return Turn::kEnd;
  if (stop_after_ && step > *stop_after_) return Turn::kEndStopped;
  if (step > through) return Turn::kWait;
  last_sent_ = std::max(last_sent_, step);
  return Turn::kSend;
}

std::shared_ptr<const Planner> JobState::planner() const {
  const std::lock_guard lock(mutex_);
  return job_ ? job_->planner : nullptr;
}

std::optional<WorkerFailure> JobState::failure() const {
  const std::lock_guard lock(mutex_);
  return failure_;
}

bool JobState::stop_requested() const {
  const std::lock_guard lock(mutex_);
  return stop_after_.has_value();
}

std::string JobState::stop_reason() const {
  const std::lock_guard lock(mutex_);
  return stop_reason_;
}

Place JobState::coordinator_place() const {
  const std::lock_guard lock(mutex_);
  const WorkerRecord& host = workers_.front();
  return {host.host, host.phase, host.step};
}

JobSnapshot JobState::snapshot() const {
  const std::lock_guard lock(mutex_);
  JobSnapshot snapshot{.total_steps = job_ ? job_->planner->total_steps() : 0,
                       .stop_requested = stop_after_.has_value(),
                       .failure = failure_};
  std::copy_if(workers_.begin(), workers_.end(), std::back_inserter(snapshot.workers),
               [](const WorkerRecord& worker) { return worker.contacted; });
  return snapshot;
}

}  // namespace gsplit
