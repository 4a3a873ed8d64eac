// A job's data in small, and short deadlines, for the tests of the control plane.
#pragma once

#include <chrono>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <thread>
#include <vector>

#include "runtime/control/client.h"
#include "runtime/control/coordinator.h"
#include "runtime/control/planner.h"
#include "runtime/control/progress.h"

namespace gsplit {

/// Training nodes spread over `workers` parts by a mixing function of their original id, renumbered
/// as partitioning does: by part, then by original id.
struct SplitSeeds {
  std::vector<GlobalId> train_seeds;       ///< in ascending original id
  std::vector<std::uint64_t> bounds;       ///< (workers + 1)
  std::vector<std::uint64_t> original_of;  ///< by global id
};

inline SplitSeeds split_seeds(std::uint64_t nodes, std::uint64_t workers) {
  const auto owner = [&](std::uint64_t node) { return (node * 2654435761u >> 7) % workers; };
  SplitSeeds split{.bounds = {0}};
  std::vector<std::uint64_t> global_of(nodes);
  for (std::uint64_t part = 0; part < workers; ++part) {
    for (std::uint64_t node = 0; node < nodes; ++node) {
      if (owner(node) != part) continue;
      global_of[node] = split.original_of.size();
      split.original_of.push_back(node);
    }
    split.bounds.push_back(split.original_of.size());
  }
  for (std::uint64_t node = 1; node < nodes; node += 2) {  // every second node is for training
    split.train_seeds.push_back(GlobalId{global_of[node]});
  }
  return split;
}

/// A coordinator, its job's planner, and clients as its workers would make them.
class ControlFixture {
 public:
  static constexpr std::chrono::milliseconds kDeadline{500};

  ControlFixture(int world_size, const PlannerOptions& options,
                 std::chrono::milliseconds deadline = std::chrono::seconds(10))
      : deadline_(deadline),
        split_(split_seeds(2000, static_cast<std::uint64_t>(world_size))),
        planner_(std::make_shared<Planner>(split_.train_seeds, split_.bounds, options)),
        coordinator_(std::make_unique<Coordinator>(
            CoordinatorOptions{.world_size = world_size, .deadline = deadline})),
        address_(coordinator_->address()),
        contact_(coordinator_->contact()),
        world_size_(world_size),
        progress_(static_cast<std::size_t>(world_size)) {}

  void open() { coordinator_->open({.planner = planner_, .dataset_fingerprint = kFingerprint}); }

  ClientOptions options(int rank) const {
    return {.contact = contact_,
            .rank = rank,
            .world_size = world_size_,
            .host = "host-" + std::string(1, static_cast<char>('a' + rank)),
            .device = "cpu",
            .deadline = deadline_,
            .heartbeat_interval = std::chrono::milliseconds(20)};
  }

  std::unique_ptr<CoordinatorClient> client(const ClientOptions& options) {
    return std::make_unique<CoordinatorClient>(options, progress_[0]);
  }
  std::unique_ptr<CoordinatorClient> client(int rank) {
    return std::make_unique<CoordinatorClient>(options(rank), progress(rank));
  }
  JoinResult join(CoordinatorClient& client) { return client.join(GSPLIT_VERSION, kFingerprint); }

  Coordinator& coordinator() { return *coordinator_; }
  const Planner& planner() const { return *planner_; }
  const std::string& address() const { return address_; }
  Progress& progress(int rank) { return progress_[static_cast<std::size_t>(rank)]; }
  void destroy_coordinator() { coordinator_.reset(); }

  static constexpr const char* kFingerprint = "5f1e77a0c0ffee";

 private:
  std::chrono::milliseconds deadline_;
  SplitSeeds split_;
  std::shared_ptr<const Planner> planner_;
  std::unique_ptr<Coordinator> coordinator_;
  std::string address_;
  Contact contact_;
  int world_size_;
  std::vector<Progress> progress_;
};

/// Polls until the client knows of a failure; nothing after ten seconds.
inline std::optional<WorkerFailure> await_failure(const CoordinatorClient& client) {
  const auto end = std::chrono::steady_clock::now() + std::chrono::seconds(10);
  while (std::chrono::steady_clock::now() < end) {
    if (const auto failure = client.failure()) return failure;
    std::this_thread::sleep_for(std::chrono::milliseconds(2));
  }
  return std::nullopt;
}

}  // namespace gsplit
