#include "runtime/control/job_draft.h"

#include <algorithm>
#include <memory>
#include <utility>

#include "kernels/base/error.h"
#include "runtime/control/planner.h"
#include "runtime/control/wire.h"

namespace gsplit {
namespace {

/// Of the seeds of a job; 32 GiB of ids.
constexpr std::uint64_t kMaxSeeds = std::uint64_t{1} << 32;

/// A planner and the seeds that it looks at.
struct OwnPlan {
  OwnPlan(std::vector<GlobalId> train_seeds, std::vector<std::uint64_t> bounds,
          const PlannerOptions& options)
      : seeds(std::move(train_seeds)), planner(seeds, std::move(bounds), options) {}
  std::vector<GlobalId> seeds;
  Planner planner;
};

grpc::Status refuse(const char* why) {
  return {grpc::StatusCode::INVALID_ARGUMENT, std::string("a job that is none: ") + why};
}

bool are_bounds(const v1::OpenRequest& request) {
  const auto& bounds = request.bounds();
  return bounds.size() >= 2 && bounds[0] == 0 && std::is_sorted(bounds.begin(), bounds.end());
}

PlannerOptions options_of(const v1::OpenRequest& request) {
  return {.seed = request.seed(),
          .batch_size = request.batch_size(),
          .epochs = request.epochs(),
          .max_steps = request.max_steps(),
          .drop_last = request.drop_last(),
          .slices = request.slices()};
}

}  // namespace

grpc::Status JobDraft::add(const v1::OpenRequest& request) {
  if (!job_.is_apart()) return refuse("this coordinator opens its job itself");
  if (!job_.attend(0, request.instance(), "")) return refuse("it is not rank 0 that opens it");
  const std::lock_guard lock(mutex_);
  const auto size = static_cast<std::uint64_t>(request.seeds_size());
  if (opened_ || request.offset() + size == seeds_.size()) return grpc::Status::OK;
  if (request.total_seeds() > kMaxSeeds || request.offset() != seeds_.size() ||
      size > request.total_seeds() - seeds_.size()) {
    return refuse("its seeds do not follow each other");
  }
  for (const std::uint64_t seed : request.seeds()) seeds_.push_back(GlobalId{seed});
  return seeds_.size() == request.total_seeds() ? complete(request) : grpc::Status::OK;
}

grpc::Status JobDraft::complete(const v1::OpenRequest& request) {
  if (!are_bounds(request)) return refuse("its parts have no bounds");
  const std::uint64_t parts = static_cast<std::uint64_t>(request.bounds_size()) - 1;
  const std::uint64_t nodes = request.bounds()[request.bounds_size() - 1];
  if (request.batch_size() == 0 || request.epochs() == 0 || request.slices() == 0 ||
      parts * request.slices() != static_cast<std::uint64_t>(job_.world_size())) {
    return refuse("its numbers do not fit together");
  }
  if (std::any_of(seeds_.begin(), seeds_.end(),
                  [&](GlobalId seed) { return value(seed) >= nodes; })) {
    return refuse("a seed is no node");
  }
  try {
    const auto plan = std::make_shared<const OwnPlan>(
        std::exchange(seeds_, {}),
        std::vector<std::uint64_t>(request.bounds().begin(), request.bounds().end()),
        options_of(request));
    opened_ = true;
    job_.open({.planner = {plan, &plan->planner},
               .dataset_fingerprint = printable(request.dataset_fingerprint())});
  } catch (const Error& error) {
    return {grpc::StatusCode::FAILED_PRECONDITION, error.what()};
  }
  return grpc::Status::OK;
}

}  // namespace gsplit
