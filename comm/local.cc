// Ranks as threads of one process. An exchange has two meetings: once all have posted their
// arguments each rank copies what is meant for it out of its peers' memory; once all have copied,
// they may go. Threads may outnumber the cores, so waiting is by condition variable.
#include <algorithm>
#include <condition_variable>
#include <cstring>
#include <exception>
#include <map>
#include <mutex>
#include <numeric>
#include <optional>
#include <thread>

#include "comm/transport.h"
#include "comm/world.h"

namespace gsplit {
namespace {

using Clock = std::chrono::steady_clock;

/// State shared by the communicators of a group. Thread-safe.
class LocalGroup {
 public:
  /// `names`: of its ranks, in errors.
  LocalGroup(std::vector<int> names, std::chrono::milliseconds deadline)
      : deadline_(deadline),
        names_(std::move(names)),
        posted_(names_.size()),
        patience_(names_.size(), 1) {}

  int size() const { return static_cast<int>(posted_.size()); }
  int name(int rank) const { return names_[static_cast<std::size_t>(rank)]; }
  /// The group of the ranks `members` of this one, made by the first of them who asks. `split`:
  /// number of the call of Communicator::split() that it is for.
  std::shared_ptr<LocalGroup> group_of(std::uint64_t split, const std::vector<int>& members);
  /// The same ranks again. `number` of the call of Communicator::duplicate() that it is for.
  std::shared_ptr<LocalGroup> duplicate(std::size_t number);
  /// Posts the arguments of a rank, which live until it has finished or abandoned.
  void start(int rank, const Exchange& args);
  void finish(int rank);
  /// Fails the group for a rank that has started. Afterwards nobody reads its memory.
  void abandon(int rank) noexcept;
  /// Of a rank, in times of the deadline. The most patient one decides when one is missing.
  void set_patience(int rank, int times);
  /// All waiting and later calls throw `failure`, those of groups of this one's ranks and of
  /// duplicates too; the first one counts.
  void fail(const CommunicationFailure& failure);

 private:
  using Lock = std::unique_lock<std::mutex>;

  struct Posting {
    const Exchange* args = nullptr;
    std::uint64_t round = 0;  ///< exchanges this rank has entered
  };

  void post(int rank, const Exchange& args);
  void await_postings(Lock& lock, std::uint64_t round);
  void await_copies(Lock& lock, std::uint64_t round);
  bool posted_sizes_agree() const;
  void copy_segments(int rank) const;
  int lowest_absent(std::uint64_t round) const;
  std::chrono::milliseconds deadline() const;
  [[noreturn]] void leave_failed(Lock& lock);

  const std::chrono::milliseconds deadline_;
  const std::vector<int> names_;
  std::mutex mutex_;
  std::condition_variable changed_;
  std::optional<CommunicationFailure> failure_;
  /// By number of the split and first member.
  std::map<std::pair<std::uint64_t, int>, std::shared_ptr<LocalGroup>> groups_;
  std::vector<std::shared_ptr<LocalGroup>> duplicates_;  ///< by number
  std::vector<Posting> posted_;                          ///< by rank; fixed while ranks copy
  std::vector<int> patience_;                            ///< by rank
  int arrived_ = 0;                   ///< ranks that have posted for round complete_postings_ + 1
  int copied_ = 0;                    ///< ranks that have copied in round complete_copies_ + 1
  int copying_ = 0;                   ///< ranks that read their peers' memory now
  bool peers_agree_on_bytes_ = true;  ///< in the last complete round of postings
  std::uint64_t complete_postings_ = 0;  ///< rounds
  std::uint64_t complete_copies_ = 0;    ///< rounds
};

void LocalGroup::start(int rank, const Exchange& args) {
  Lock lock(mutex_);
  if (failure_) leave_failed(lock);
  post(rank, args);
}

void LocalGroup::finish(int rank) {
  Lock lock(mutex_);
  const std::uint64_t round = posted_[static_cast<std::size_t>(rank)].round;
  await_postings(lock, round);
  ++copying_;
  lock.unlock();
  copy_segments(rank);
  lock.lock();
  --copying_;
  await_copies(lock, round);
}

void LocalGroup::abandon(int rank) noexcept {
  fail(departed_peer(name(rank)));
  Lock lock(mutex_);
  changed_.wait(lock, [&] { return copying_ == 0; });
}

void LocalGroup::set_patience(int rank, int times) {
  const Lock lock(mutex_);
  patience_[static_cast<std::size_t>(rank)] = times;
  changed_.notify_all();
}

std::chrono::milliseconds LocalGroup::deadline() const {
  return deadline_ * *std::max_element(patience_.begin(), patience_.end());
}

void LocalGroup::fail(const CommunicationFailure& failure) {
  const Lock lock(mutex_);
  if (!failure_) failure_ = failure;
  changed_.notify_all();
  for (const auto& [key, group] : groups_) group->fail(*failure_);
  for (const auto& group : duplicates_) group->fail(*failure_);
}

std::shared_ptr<LocalGroup> LocalGroup::group_of(std::uint64_t split,
                                                 const std::vector<int>& members) {
  const Lock lock(mutex_);
  std::shared_ptr<LocalGroup>& group = groups_[{split, members.front()}];
  if (!group) {
    group = std::make_shared<LocalGroup>(members, deadline_);
    if (failure_) group->fail(*failure_);
  }
  return group;
}

std::shared_ptr<LocalGroup> LocalGroup::duplicate(std::size_t number) {
  const Lock lock(mutex_);
  if (duplicates_.size() == number) {
    duplicates_.push_back(std::make_shared<LocalGroup>(names_, deadline_));
    if (failure_) duplicates_.back()->fail(*failure_);
  }
  return duplicates_[number];
}

void LocalGroup::post(int rank, const Exchange& args) {
  Posting& mine = posted_[static_cast<std::size_t>(rank)];
  mine = {&args, mine.round + 1};
  if (++arrived_ == size()) {
    arrived_ = 0;
    peers_agree_on_bytes_ = posted_sizes_agree();
    ++complete_postings_;
    changed_.notify_all();
  }
}

void LocalGroup::await_postings(Lock& lock, std::uint64_t round) {
  const auto start = Clock::now();
  while (complete_postings_ < round && !failure_) {
    const std::chrono::milliseconds patience = deadline();  // it may end while this rank waits
    if (Clock::now() < start + patience) {
      changed_.wait_until(lock, start + patience);
      continue;
    }
    const int absent = groups_.empty() ? name(lowest_absent(round)) : CommunicationError::kSomePeer;
    failure_ = absent_peer(absent, patience);
    changed_.notify_all();
  }
  if (complete_postings_ >= round) GSPLIT_CHECK(peers_agree_on_bytes_);
  if (failure_) leave_failed(lock);
}

// No deadline: peers that have arrived only copy now, and to leave earlier would free memory that
// they read.
void LocalGroup::await_copies(Lock& lock, std::uint64_t round) {
  if (++copied_ == size()) {
    copied_ = 0;
    ++complete_copies_;
  }
  changed_.notify_all();
  changed_.wait(lock, [&] { return complete_copies_ >= round || failure_; });
  if (complete_copies_ < round) leave_failed(lock);
}

// The last to come looks at all pairs, so that all ranks find the same and nobody starts to copy.
bool LocalGroup::posted_sizes_agree() const {
  for (std::size_t to = 0; to < posted_.size(); ++to) {
    for (std::size_t from = 0; from < posted_.size(); ++from) {
      if (posted_[from].args->send_bytes[to] != posted_[to].args->receive_bytes[from]) return false;
    }
  }
  return true;
}

void LocalGroup::copy_segments(int rank) const {
  const Exchange& mine = *posted_[static_cast<std::size_t>(rank)].args;
  std::byte* to = mine.receive.data();
  for (std::size_t q = 0; q < posted_.size(); ++q) {
    const Exchange& peer = *posted_[q].args;
    const std::size_t bytes = mine.receive_bytes[q];
    const std::size_t start =
        std::accumulate(peer.send_bytes.begin(), peer.send_bytes.begin() + rank, std::size_t{0});
    if (bytes > 0) std::memcpy(to, peer.send.data() + start, bytes);
    to += bytes;
  }
}

int LocalGroup::lowest_absent(std::uint64_t round) const {
  const auto absent = std::find_if(posted_.begin(), posted_.end(),
                                   [round](const Posting& p) { return p.round < round; });
  return static_cast<int>(absent - posted_.begin());
}

// Nobody starts to copy after a failure, but a peer that has started may still read our memory.
void LocalGroup::leave_failed(Lock& lock) {
  changed_.wait(lock, [&] { return copying_ == 0; });
  throw failure_->error();
}

class LocalCommunicator final : public Communicator {
 public:
  LocalCommunicator(std::shared_ptr<LocalGroup> group, int rank)
      : group_(group), first_(std::move(group)), rank_(rank) {}
  // A peer that still waits for this rank would wait in vain.
  ~LocalCommunicator() override { group_->fail(departed_peer(group_->name(rank_))); }
  LocalCommunicator(const LocalCommunicator&) = delete;
  LocalCommunicator& operator=(const LocalCommunicator&) = delete;

  int rank() const override { return rank_; }
  int size() const override { return group_->size(); }
  void abort(const std::string& reason) noexcept override {
    first_->fail(aborted_peer(group_->name(rank_), reason));
  }
  void set_patience(int times) override { group_->set_patience(rank_, times); }
  std::unique_ptr<Communicator> split(int color) override {
    GSPLIT_CHECK(!is_part_);
    const std::vector<int> members = ranks_of_color(all_gather_value(color), rank_);
    const auto place = std::find(members.begin(), members.end(), rank_) - members.begin();
    auto part = derive(group_->group_of(splits_++, members), static_cast<int>(place));
    part->is_part_ = true;
    return part;
  }
  std::unique_ptr<Communicator> duplicate() override {
    GSPLIT_CHECK(!is_part_);
    return derive(group_->duplicate(duplicates_++), rank_);
  }

 private:
  void start_transfer(const Exchange& args) override {
    check_exchange(args, rank_, size());
    group_->start(rank_, args);
  }
  void finish_transfer() override { group_->finish(rank_); }
  void abandon_transfer() noexcept override { group_->abandon(rank_); }
  std::unique_ptr<LocalCommunicator> derive(std::shared_ptr<LocalGroup> group, int rank) const {
    auto derived = std::make_unique<LocalCommunicator>(std::move(group), rank);
    derived->first_ = first_;
    return derived;
  }

  std::shared_ptr<LocalGroup> group_;
  std::shared_ptr<LocalGroup> first_;  ///< that all others of these threads were derived from
  int rank_;
  bool is_part_ = false;
  std::uint64_t splits_ = 0;
  std::size_t duplicates_ = 0;
};

/// The exception that came first in time. Thread-safe.
class FirstException {
 public:
  void record(std::exception_ptr exception) {
    const std::lock_guard lock(mutex_);
    if (!first_) first_ = std::move(exception);
  }
  /// REQUIRES: nobody records any more.
  void rethrow() const {
    if (first_) std::rethrow_exception(first_);
  }

 private:
  std::mutex mutex_;
  std::exception_ptr first_;
};

// Records before it aborts: what the peers throw because of the abort comes later.
void run_rank(Communicator& communicator, const std::function<void(Communicator&)>& body,
              FirstException& first) {
  try {
    body(communicator);
  } catch (const std::exception& error) {
    first.record(std::current_exception());
    communicator.abort(error.what());
  } catch (...) {
    first.record(std::current_exception());
    communicator.abort("unknown exception");
  }
}

}  // namespace

std::vector<std::unique_ptr<Communicator>> make_local_communicators(
    int size, std::chrono::milliseconds deadline) {
  GSPLIT_CHECK(size >= 1);
  std::vector<int> names(static_cast<std::size_t>(size));
  std::iota(names.begin(), names.end(), 0);
  const auto group = std::make_shared<LocalGroup>(std::move(names), deadline);
  std::vector<std::unique_ptr<Communicator>> communicators;
  for (int r = 0; r < size; ++r) {
    communicators.push_back(std::make_unique<LocalCommunicator>(group, r));
  }
  return communicators;
}

void run_local_ranks(int size, std::chrono::milliseconds deadline,
                     const std::function<void(Communicator&)>& body) {
  FirstException first;
  {
    std::vector<std::jthread> threads;
    for (auto& communicator : make_local_communicators(size, deadline)) {
      threads.emplace_back([&body, &first, own = std::move(communicator)]() mutable {
        run_rank(*own, body, first);
        own.reset();
      });
    }
  }
  first.rethrow();
}

}  // namespace gsplit
