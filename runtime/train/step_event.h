// The fields of a `step` event, from the workers' reports. docs/formats.md says what they mean.
#pragma once

#include <cstdint>
#include <nlohmann/json_fwd.hpp>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "runtime/control/planner.h"
#include "runtime/train/step_report.h"

namespace gsplit {

/// `layers`: of the model; `route`: --route, by which sums that travelled are called.
nlohmann::ordered_json step_fields(const StepPlan& plan, const StepReport& total,
                                   std::size_t layers, const std::string& route);

/// What each worker did since this was last written. An event has room for the figures of about
/// eight workers a step, so those of more stand in every second, third, ... step.
class WorkerSums {
 public:
  explicit WorkerSums(std::size_t workers) : sums_(workers) {}

  void add(std::span<const StepReport> workers);
  /// After add(): the sums so far, which begin anew, where the step has them or `flush`.
  std::optional<nlohmann::ordered_json> take(std::uint64_t step, bool flush);

 private:
  std::vector<StepReport> sums_;  // by rank
  std::uint64_t steps_ = 0;
};

}  // namespace gsplit
