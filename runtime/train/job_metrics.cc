#include "runtime/train/job_metrics.h"

#include <prometheus/collectable.h>
#include <prometheus/exposer.h>
#include <prometheus/metric_family.h>

#include <charconv>
#include <chrono>
#include <mutex>
#include <optional>
#include <utility>
#include <vector>

#include "kernels/base/error.h"
#include "runtime/control/job_state.h"

namespace gsplit {
namespace {

using Clock = std::chrono::steady_clock;
using prometheus::ClientMetric;
using prometheus::MetricFamily;
using prometheus::MetricType;
using Labels = std::vector<ClientMetric::Label>;

/// What the training thread has noted.
struct Noted {
  std::uint64_t steps = 0;  // of this process
  std::uint64_t step = 0;
  std::uint32_t epoch = 0;
  double loss = 0;
  StepReport sums;
  std::optional<double> validation;
  std::uint64_t checkpoint_step = 0;
  std::optional<Clock::time_point> checkpoint_time;
};

/// Counts and times of all steps so far, and what else the last one says.
StepReport added(const StepReport& sums, const StepReport& step) {
  StepReport next = combine(std::vector{sums, step});
  for (auto seconds :
       {&StepReport::sample_s, &StepReport::load_s, &StepReport::compute_s, &StepReport::comm_s,
        &StepReport::plan_wait_s, &StepReport::prepare_wait_s}) {
    next.*seconds = sums.*seconds + step.*seconds;
  }
  return next;
}

double seconds_since(Clock::time_point time) {
  return std::chrono::duration<double>(Clock::now() - time).count();
}

void add(MetricFamily& family, double value, Labels labels = {}) {
  ClientMetric metric;
  metric.label = std::move(labels);
  (family.type == MetricType::Counter ? metric.counter.value : metric.gauge.value) = value;
  family.metric.push_back(std::move(metric));
}

/// The families of one scrape, in order.
class Families {
 public:
  MetricFamily& make(const char* name, const char* help, MetricType type) {
    families_.push_back({name, help, type, {}});
    return families_.back();
  }
  void gauge(const char* name, const char* help, double value) {
    add(make(name, help, MetricType::Gauge), value);
  }
  void counter(const char* name, const char* help, double value) {
    add(make(name, help, MetricType::Counter), value);
  }
  std::vector<MetricFamily> take() { return std::move(families_); }

 private:
  std::vector<MetricFamily> families_;
};

void add_training(const Noted& noted, Families& families) {
  families.gauge("gsplit_step", "Optimizer steps done, over the whole run",
                 static_cast<double>(noted.step));
  families.gauge("gsplit_epoch", "The epoch of the last step", noted.epoch);
  families.counter("gsplit_steps_total", "Optimizer steps of this process",
                   static_cast<double>(noted.steps));
  if (noted.steps == 0) return;
  const StepReport& sums = noted.sums;
  families.gauge("gsplit_loss", "Loss of the last global batch", noted.loss);
  families.gauge("gsplit_learning_rate", "Learning rate of the last step", sums.learning_rate);
  families.counter("gsplit_seeds_total", "Seeds trained on, all workers",
                   static_cast<double>(sums.seeds));
  families.counter("gsplit_edges_total", "Edges sampled, all workers",
                   static_cast<double>(sums.edges));
  MetricFamily& rows = families.make("gsplit_input_rows_total",
                                     "Input rows by where they were read", MetricType::Counter);
  add(rows, static_cast<double>(sums.rows_cache), {{"source", "cache"}});
  add(rows, static_cast<double>(sums.rows_remote), {{"source", "remote"}});
  add(rows, static_cast<double>(sums.rows_disk), {{"source", "disk"}});
  MetricFamily& bytes =
      families.make("gsplit_sent_bytes_total", "Bytes between workers", MetricType::Counter);
  add(bytes, static_cast<double>(sums.shuffle().bytes), {{"kind", "shuffle"}});
  add(bytes, static_cast<double>(sums.plan_bytes), {{"kind", "plan"}});
  add(bytes, static_cast<double>(sums.allreduce_bytes), {{"kind", "allreduce"}});
  MetricFamily& seconds =
      families.make("gsplit_stage_seconds_total",
                    "Time of the slowest worker in each stage of the steps", MetricType::Counter);
  add(seconds, sums.sample_s, {{"stage", "sample"}});
  add(seconds, sums.load_s, {{"stage", "load"}});
  add(seconds, sums.compute_s, {{"stage", "compute"}});
  add(seconds, sums.comm_s, {{"stage", "comm"}});
  add(seconds, sums.plan_wait_s, {{"stage", "plan_wait"}});
  add(seconds, sums.prepare_wait_s, {{"stage", "prepare_wait"}});
}

void add_progress(const Noted& noted, Families& families) {
  if (noted.validation) {
    families.gauge("gsplit_validation_accuracy", "Of the latest evaluation", *noted.validation);
  }
  if (!noted.checkpoint_time) return;
  families.gauge("gsplit_checkpoint_step", "Step of the latest checkpoint of this process",
                 static_cast<double>(noted.checkpoint_step));
  families.gauge("gsplit_checkpoint_age_seconds", "Since that checkpoint",
                 seconds_since(*noted.checkpoint_time));
}

void add_job(const JobSnapshot& job, Families& families) {
  families.gauge("gsplit_total_steps", "Steps of the whole run; 0 while it is prepared",
                 static_cast<double>(job.total_steps));
  families.gauge("gsplit_workers", "Workers heard of", static_cast<double>(job.workers.size()));
  families.gauge("gsplit_stop_requested", "Whether the run is to stop", job.stop_requested);
  families.gauge("gsplit_failures", "Whether the run has failed", job.failure.has_value());
}

/// A series for each worker.
void add_worker_gauge(const JobSnapshot& job, Families& families, const char* name,
                      const char* help, const auto& value_of) {
  MetricFamily& family = families.make(name, help, MetricType::Gauge);
  for (const WorkerRecord& worker : job.workers) {
    add(family, value_of(worker), {{"rank", std::to_string(worker.rank)}, {"host", worker.host}});
  }
}

void add_workers(const JobSnapshot& job, Families& families) {
  const auto gauge = [&](const char* name, const char* help, const auto& value_of) {
    add_worker_gauge(job, families, name, help, value_of);
  };
  using Record = WorkerRecord;
  gauge("gsplit_worker_step", "Step that the worker is in",
        [](const Record& worker) { return static_cast<double>(worker.step); });
  gauge("gsplit_worker_steps_behind", "Steps behind the foremost worker",
        [](const Record& worker) { return static_cast<double>(worker.steps_behind); });
  gauge("gsplit_worker_seeds_per_second", "Over the last ten seconds",
        [](const Record& worker) { return worker.seeds_rate.per_second(); });
  gauge("gsplit_worker_busy_ratio", "Share of these in which it loaded and computed",
        [](const Record& worker) { return worker.busy_rate.per_second(); });
  gauge("gsplit_worker_resident_bytes", "Resident memory of the worker's process",
        [](const Record& worker) { return static_cast<double>(worker.rss_bytes); });
  gauge("gsplit_worker_device_bytes", "Memory of a GPU that the worker holds",
        [](const Record& worker) { return static_cast<double>(worker.device_bytes); });
  gauge("gsplit_worker_heartbeat_age_seconds", "Since the worker was last heard of",
        [](const Record& worker) { return seconds_since(worker.last_contact); });
  MetricFamily& phases = families.make("gsplit_worker_phase",
                                       "1 for the phase that the worker is in", MetricType::Gauge);
  for (const Record& worker : job.workers) {
    add(phases, 1,
        {{"rank", std::to_string(worker.rank)},
         {"host", worker.host},
         {"phase", name_of(worker.phase)}});
  }
}

/// Answers a scrape from what is noted and what the coordinator has heard.
class JobCollectable final : public prometheus::Collectable {
 public:
  explicit JobCollectable(const Coordinator* coordinator) : coordinator_(coordinator) {}

  std::vector<MetricFamily> Collect() const override {
    Families families;
    MetricFamily& build = families.make("gsplit_build_info", "1", MetricType::Gauge);
    add(build, 1, {{"version", GSPLIT_VERSION}});
    {
      const std::lock_guard lock(mutex_);
      add_training(noted_, families);
      add_progress(noted_, families);
    }
    if (coordinator_ != nullptr) {
      const JobSnapshot job = coordinator_->snapshot();
      add_job(job, families);
      add_workers(job, families);
    }
    return families.take();
  }

  void note(const auto& change) {
    const std::lock_guard lock(mutex_);
    change(noted_);
  }

 private:
  const Coordinator* coordinator_;
  mutable std::mutex mutex_;
  Noted noted_;
};

std::string text_of(const MetricsAddress& where) {
  return where.host + ":" + std::to_string(where.port);
}

/// Few threads, short patience: whoever keeps connections open costs the run nothing.
std::vector<std::string> server_options(const MetricsAddress& where) {
  return {"listening_ports",    text_of(where), "num_threads",       "3",
          "request_timeout_ms", "5000",         "enable_keep_alive", "no"};
}

}  // namespace

MetricsAddress MetricsAddress::parse(const std::string& text) {
  MetricsAddress address;
  const std::size_t colon = text.rfind(':');
  if (colon != std::string::npos) address.host = text.substr(0, colon);
  const std::string port = text.substr(colon == std::string::npos ? 0 : colon + 1);
  const char* const end = port.data() + port.size();
  const auto parsed = std::from_chars(port.data(), end, address.port);
  // The server reads its list of ports with commas, r and s for itself.
  const bool plain =
      address.host.find_first_not_of("0123456789abcdefABCDEF.:[]") == std::string::npos;
  if (parsed.ec != std::errc() || parsed.ptr != end || address.host.empty() || !plain) {
    throw UsageError("--metrics-port " + text + " is neither a port nor an address with one",
                     "give such as 9464 (loopback) or 0.0.0.0:9464");
  }
  return address;
}

bool MetricsAddress::is_loopback() const { return host.starts_with("127.") || host == "[::1]"; }

struct JobMetrics::Impl {
  Impl(const MetricsAddress& where, const Coordinator* coordinator)
      : collectable(std::make_shared<JobCollectable>(coordinator)),
        exposer(server_options(where)),
        address(where.host + ":" + std::to_string(exposer.GetListeningPorts().front())) {
    exposer.RegisterCollectable(collectable);
  }

  std::shared_ptr<JobCollectable> collectable;
  prometheus::Exposer exposer;  // ends before what it reads
  std::string address;
};

JobMetrics::JobMetrics(const MetricsAddress& where, const Coordinator* coordinator) {
  try {
    impl_ = std::make_unique<Impl>(where, coordinator);
  } catch (const std::exception&) {
    throw UsageError("--metrics-port: nothing can listen on " + text_of(where),
                     "is the port taken? port 0 finds a free one");
  }
}

JobMetrics::~JobMetrics() = default;

const std::string& JobMetrics::address() const { return impl_->address; }

void JobMetrics::note_step(const StepPlan& plan, const StepReport& total) {
  impl_->collectable->note([&](Noted& noted) {
    ++noted.steps;
    noted.step = plan.step;
    noted.epoch = plan.epoch;
    noted.loss = total.mean_loss();
    noted.sums = added(noted.sums, total);
  });
}

void JobMetrics::note_validation(double accuracy) {
  impl_->collectable->note([&](Noted& noted) { noted.validation = accuracy; });
}

void JobMetrics::note_checkpoint(std::uint64_t step) {
  impl_->collectable->note([&](Noted& noted) {
    noted.checkpoint_step = step;
    noted.checkpoint_time = Clock::now();
  });
}

}  // namespace gsplit
