#include "runtime/train/worker_groups.h"

#include "comm/world.h"

namespace gsplit {

WorkerGroups::WorkerGroups(const AllWorkers& all, int size, Progress& progress)
    : all_(all), size_(size) {
  const int workers = all.communicator.size();
  GSPLIT_CHECK(size >= 1 && workers % size == 0);
  if (size == workers) return;
  if (size == 1) {
    owners_ = std::move(make_local_communicators(1, all.deadline).front());
  } else {
    owners_ = all.communicator.split(all.communicator.rank() / size);
    same_part_ = all.communicator.split(all.communicator.rank() % size);
    for (Communicator* group : {owners_.get(), same_part_.get()}) {
      group->trace_with(progress.tracer);
    }
    count_exchanges(progress);
  }
  owner_traffic_ = all.connect(*owners_);
  if (same_part_) same_part_traffic_ = all.connect(*same_part_);
}

WorkerGroups::~WorkerGroups() {
  if (same_part_) all_.communicator.on_coming({});
}

Replicas WorkerGroups::replicas() const {
  const int count = all_.communicator.size() / size_;
  if (count == 1) return {};
  return {.count = count,
          .index = all_.communicator.rank() / size_,
          .traffic = same_part_traffic_ ? same_part_traffic_.get() : &all_.traffic};
}

void WorkerGroups::count_exchanges(Progress& progress) {
  all_.communicator.on_coming([&progress] { progress.come_to_exchange_of_all(); });
  for (Communicator* group : {owners_.get(), same_part_.get()}) {
    group->on_coming([&progress] { progress.come_to_exchange_of_group(); });
  }
}

}  // namespace gsplit
