// Ranks of an MPI launcher. An exchange is a set of non-blocking messages polled against the
// deadline, so that a dead peer is an error and never a hang. A second communicator carries notices
// of failure, which every poll looks at: when one rank fails, the others learn whose fault it was
// at once.
#include <mpi.h>
#include <unistd.h>
#ifdef __linux__
#include <sys/prctl.h>

#include <csignal>
#endif

#include <algorithm>
#include <array>
#include <cstring>
#include <exception>
#include <filesystem>
#include <fstream>
#include <memory>
#include <mutex>
#include <optional>
#include <thread>

#include "comm/transport.h"
#include "comm/world.h"

namespace gsplit {
namespace {

using Clock = std::chrono::steady_clock;

/// MPI counts are ints.
constexpr std::size_t kMaxMessageBytes = std::size_t{1} << 30;
/// The tags that every MPI has are 0 to 32767; the last is the farewell's.
constexpr std::uint32_t kTags = 32767;
constexpr int kFarewellTag = 32767;
/// How long a failing rank tries to get its notices out.
constexpr std::chrono::milliseconds kNoticeTime{200};

/// Throws CommunicationError if an MPI call failed.
void check_mpi(int code, const char* call) {
  if (code == MPI_SUCCESS) return;
  char text[MPI_MAX_ERROR_STRING] = "unknown error";
  int length = 0;
  MPI_Error_string(code, text, &length);
  throw CommunicationError(-1, std::string(call) + " failed: " + text);
}

/// Waiting between polls: first the core is only offered to others, then given up for 20 to 100 us,
/// so that the compute threads of ranks that share the cores get on.
class Backoff {
 public:
  void pause() {
    if (Clock::now() < spin_until_) {
      std::this_thread::yield();
      return;
    }
    std::this_thread::sleep_for(nap_);
    nap_ = std::min(2 * nap_, std::chrono::microseconds{100});
  }
  void reset() { *this = Backoff(); }

 private:
  Clock::time_point spin_until_ = Clock::now() + std::chrono::microseconds{200};
  std::chrono::microseconds nap_{20};
};

/// Sent by a failing rank to all others.
struct Notice {
  std::int32_t peer = -1;
  std::array<char, 1020> reason{};
};

Notice make_notice(const CommunicationFailure& failure) {
  Notice notice{.peer = failure.peer};
  failure.reason.copy(notice.reason.data(), notice.reason.size() - 1);
  return notice;
}

/// A rank as a communicator of MPI knows it, and as errors name it.
struct Peer {
  MPI_Comm comm;
  int rank;
  int name;
};

/// The pending messages of one exchange, beside the receive of the next notice.
class Messages {
 public:
  void watch_notices(MPI_Comm comm) {
    requests_.assign(1, MPI_REQUEST_NULL);
    check_mpi(MPI_Irecv(&notice_, sizeof(Notice), MPI_BYTE, MPI_ANY_SOURCE, 0, comm, &requests_[0]),
              "MPI_Irecv");
  }

  void receive(const Peer& peer, int tag, std::span<std::byte> data);
  void send(const Peer& peer, int tag, std::span<const std::byte> data);
  /// One round of progress; true if a message was completed. Throws on a wrong length.
  bool poll();
  bool complete() const { return unfinished_ == 0; }
  /// The lowest name of a peer with an unfinished message. REQUIRES: !complete().
  int lowest_unfinished() const;
  /// The notice that has come, if one has.
  const std::optional<CommunicationFailure>& noticed() const { return noticed_; }
  /// Withdraws all receives, so that nothing is written to memory that its owner takes back.
  void withdraw();
  void clear();

 private:
  struct Message {
    int peer = -1;   ///< its name
    int bytes = -1;  ///< expected; -1 for a send
  };
  void add(int peer, int bytes);
  void check_completed(int index, const MPI_Status& status);

  Notice notice_;
  std::optional<CommunicationFailure> noticed_;
  std::vector<MPI_Request> requests_;                        ///< the first is the notice's
  std::vector<Message> messages_ = std::vector<Message>(1);  ///< parallel to requests_
  std::vector<int> completed_;
  std::vector<MPI_Status> statuses_;
  std::size_t unfinished_ = 0;
};

void Messages::add(int peer, int bytes) {
  requests_.push_back(MPI_REQUEST_NULL);
  messages_.push_back({peer, bytes});
  ++unfinished_;
}

void Messages::receive(const Peer& peer, int tag, std::span<std::byte> data) {
  while (!data.empty()) {
    const auto part = data.first(std::min(data.size(), kMaxMessageBytes));
    data = data.subspan(part.size());
    const int bytes = static_cast<int>(part.size());
    add(peer.name, bytes);
    check_mpi(MPI_Irecv(part.data(), bytes, MPI_BYTE, peer.rank, tag, peer.comm, &requests_.back()),
              "MPI_Irecv");
  }
}

void Messages::send(const Peer& peer, int tag, std::span<const std::byte> data) {
  while (!data.empty()) {
    const auto part = data.first(std::min(data.size(), kMaxMessageBytes));
    data = data.subspan(part.size());
    add(peer.name, -1);
    check_mpi(MPI_Isend(part.data(), static_cast<int>(part.size()), MPI_BYTE, peer.rank, tag,
                        peer.comm, &requests_.back()),
              "MPI_Isend");
  }
}

bool Messages::poll() {
  completed_.resize(requests_.size());
  statuses_.resize(requests_.size());
  int count = 0;
  const int code = MPI_Testsome(static_cast<int>(requests_.size()), requests_.data(), &count,
                                completed_.data(), statuses_.data());
  if (code != MPI_ERR_IN_STATUS) check_mpi(code, "MPI_Testsome");
  if (count == MPI_UNDEFINED) return false;
  for (int i = 0; i < count; ++i) {
    MPI_Status& status = statuses_[static_cast<std::size_t>(i)];
    // MPI sets the field only where it reports an error in some status.
    if (code == MPI_SUCCESS) status.MPI_ERROR = MPI_SUCCESS;
    check_completed(completed_[static_cast<std::size_t>(i)], status);
    if (noticed_) break;  // what else has come may be cut short by the failure
  }
  return count > 0;
}

void Messages::check_completed(int index, const MPI_Status& status) {
  if (index == 0) {
    check_mpi(status.MPI_ERROR, "the receive of a notice");
    noticed_ = CommunicationFailure{notice_.peer, notice_.reason.data(),
                                    notice_.peer == status.MPI_SOURCE};
    return;
  }
  --unfinished_;
  const Message& message = messages_[static_cast<std::size_t>(index)];
  int error_class = MPI_SUCCESS;
  MPI_Error_class(status.MPI_ERROR, &error_class);
  const bool peer_sent_too_much = error_class == MPI_ERR_TRUNCATE;
  GSPLIT_CHECK(!peer_sent_too_much);
  check_mpi(status.MPI_ERROR, "a message");
  if (message.bytes < 0) return;
  int received = 0;
  check_mpi(MPI_Get_count(&status, MPI_BYTE, &received), "MPI_Get_count");
  const bool peers_agree_on_bytes = received == message.bytes;
  GSPLIT_CHECK(peers_agree_on_bytes);
}

int Messages::lowest_unfinished() const {
  int lowest = -1;
  for (std::size_t i = 1; i < requests_.size(); ++i) {
    if (requests_[i] == MPI_REQUEST_NULL) continue;
    if (lowest < 0 || messages_[i].peer < lowest) lowest = messages_[i].peer;
  }
  return lowest;
}

void Messages::withdraw() {
  for (std::size_t i = 0; i < requests_.size(); ++i) {
    const bool is_receive = i == 0 || messages_[i].bytes >= 0;
    if (!is_receive || requests_[i] == MPI_REQUEST_NULL) continue;
    MPI_Cancel(&requests_[i]);
    MPI_Request_free(&requests_[i]);
  }
}

void Messages::clear() {
  requests_.resize(1);
  messages_.resize(1);
}

/// Ranks that exchange among themselves.
struct MpiGroup {
  MPI_Comm comm = MPI_COMM_NULL;
  int rank = 0;
  std::vector<int> names{};    ///< of its ranks
  std::uint32_t sequence = 0;  ///< exchanges so far: their tag, so that two never mix

  int size() const { return static_cast<int>(names.size()); }
  Peer peer(int rank_of_peer) const {
    return {comm, rank_of_peer, names[static_cast<std::size_t>(rank_of_peer)]};
  }
};

class MpiCommunicator;

/// What the communicators of a rank share. They may be used by several threads, and MPI by one at a
/// time.
struct MpiJob {
  std::mutex mutex;  ///< of all that follows and of every call of MPI
  std::optional<CommunicationFailure> failure;
  std::vector<MpiCommunicator*> communicators;
};

class MpiCommunicator final : public Communicator {
 public:
  /// Of all ranks. Collective.
  MpiCommunicator(std::shared_ptr<MpiJob> job, std::chrono::milliseconds deadline);
  ~MpiCommunicator() override;
  MpiCommunicator(const MpiCommunicator&) = delete;
  MpiCommunicator& operator=(const MpiCommunicator&) = delete;

  int rank() const override { return all_.rank; }
  int size() const override { return all_.size(); }
  void abort(const std::string& reason) noexcept override;
  void set_patience(int times) override { patience_ = times; }
  std::unique_ptr<Communicator> split(int color) override;
  std::unique_ptr<Communicator> duplicate() override;
  // The halves of a transfer among a group.
  void start_in(MpiGroup& group, const Exchange& args);
  void finish_in(const MpiGroup& group);
  void abandon_transfer() noexcept override;
  bool failed() const;
  void free(MPI_Comm& comm);
  /// The last barrier: meets only its like, never the collective of a peer that goes on.
  void bid_farewell();

 private:
  using Lock = std::unique_lock<std::mutex>;

  void start_transfer(const Exchange& args) override { start_in(all_, args); }
  void finish_transfer() override { finish_in(all_); }
  /// Runs `half` of a transfer with MPI locked; where it throws, peers are told.
  template <class Half>
  void attempt(Half half);
  // REQUIRES of these: MPI is locked.
  void post_messages(MpiGroup& group, const Exchange& args);
  void await_messages(const MpiGroup& group, Lock& lock);
  [[noreturn]] void fail_absent(const MpiGroup& group);
  void fail(const CommunicationFailure& failure) noexcept;
  void send_notices() noexcept;

  const std::shared_ptr<MpiJob> job_;
  const std::chrono::milliseconds deadline_;
  int patience_ = 1;  ///< in times of the deadline
  MpiGroup all_;
  MPI_Comm notices_ = MPI_COMM_NULL;
  bool has_groups_ = false;  ///< by split()
  bool leaving_ = false;
  Messages messages_;
  Notice outgoing_;
};

/// A part of the ranks. Failures are those of the whole, whose notices it listens to.
class MpiPart final : public Communicator {
 public:
  MpiPart(MpiCommunicator& whole, MpiGroup group) : whole_(whole), group_(std::move(group)) {}
  ~MpiPart() override {
    if (!whole_.failed()) whole_.free(group_.comm);
  }
  MpiPart(const MpiPart&) = delete;
  MpiPart& operator=(const MpiPart&) = delete;

  int rank() const override { return group_.rank; }
  int size() const override { return group_.size(); }
  void abort(const std::string& reason) noexcept override { whole_.abort(reason); }
  void set_patience(int times) override { whole_.set_patience(times); }
  std::unique_ptr<Communicator> split(int) override { return refuse(); }
  std::unique_ptr<Communicator> duplicate() override { return refuse(); }

 private:
  void start_transfer(const Exchange& args) override { whole_.start_in(group_, args); }
  void finish_transfer() override { whole_.finish_in(group_); }
  void abandon_transfer() noexcept override { whole_.abandon_transfer(); }
  static std::unique_ptr<Communicator> refuse() {
    const bool is_a_whole = false;
    GSPLIT_CHECK(is_a_whole);
    return nullptr;
  }

  MpiCommunicator& whole_;
  MpiGroup group_;
};

MPI_Comm duplicate_world() {
  MPI_Comm comm = MPI_COMM_NULL;
  check_mpi(MPI_Comm_dup(MPI_COMM_WORLD, &comm), "MPI_Comm_dup");
  check_mpi(MPI_Comm_set_errhandler(comm, MPI_ERRORS_RETURN), "MPI_Comm_set_errhandler");
  return comm;
}

MpiCommunicator::MpiCommunicator(std::shared_ptr<MpiJob> job, std::chrono::milliseconds deadline)
    : job_(std::move(job)), deadline_(deadline) {
  const Lock lock(job_->mutex);
  all_.comm = duplicate_world();
  notices_ = duplicate_world();
  int size = 1;
  check_mpi(MPI_Comm_rank(all_.comm, &all_.rank), "MPI_Comm_rank");
  check_mpi(MPI_Comm_size(all_.comm, &size), "MPI_Comm_size");
  for (int rank = 0; rank < size; ++rank) all_.names.push_back(rank);
  messages_.watch_notices(notices_);
  job_->communicators.push_back(this);
}

// After a failure peers may be gone, and to free a communicator is collective.
MpiCommunicator::~MpiCommunicator() {
  const Lock lock(job_->mutex);
  std::erase(job_->communicators, this);
  messages_.withdraw();
  if (job_->failure) return;
  MPI_Comm_free(&notices_);
  MPI_Comm_free(&all_.comm);
}

bool MpiCommunicator::failed() const {
  const Lock lock(job_->mutex);
  return job_->failure.has_value();
}

void MpiCommunicator::free(MPI_Comm& comm) {
  const Lock lock(job_->mutex);
  MPI_Comm_free(&comm);
}

// MPI's own split waits without a deadline, so it comes when all are there.
std::unique_ptr<Communicator> MpiCommunicator::split(int color) {
  const std::vector<int> members = ranks_of_color(all_gather_value(color), rank());
  const auto place = std::find(members.begin(), members.end(), rank()) - members.begin();
  MpiGroup group{.rank = static_cast<int>(place), .names = members};
  const Lock lock(job_->mutex);
  check_mpi(MPI_Comm_split(all_.comm, members.front(), rank(), &group.comm), "MPI_Comm_split");
  has_groups_ = true;
  return std::make_unique<MpiPart>(*this, std::move(group));
}

// Likewise.
std::unique_ptr<Communicator> MpiCommunicator::duplicate() {
  barrier();
  return std::make_unique<MpiCommunicator>(job_, deadline_);
}

template <class Half>
void MpiCommunicator::attempt(Half half) {
  Lock lock(job_->mutex);
  try {
    if (job_->failure) throw job_->failure->error();
    half(lock);
  } catch (const std::exception& error) {
    fail(aborted_peer(rank(), error.what()));
    messages_.withdraw();
    throw;
  }
}

void MpiCommunicator::start_in(MpiGroup& group, const Exchange& args) {
  attempt([&](Lock&) {
    check_exchange(args, group.rank, group.size());
    copy_own_segment(args, group.rank);
    post_messages(group, args);
    messages_.poll();  // what has come already
  });
}

void MpiCommunicator::finish_in(const MpiGroup& group) {
  attempt([&](Lock& lock) {
    await_messages(group, lock);
    messages_.clear();
  });
}

void MpiCommunicator::abandon_transfer() noexcept {
  const Lock lock(job_->mutex);
  fail(aborted_peer(rank(), "it ended with an error"));
  messages_.withdraw();
}

// The s-th message goes to the s-th rank after this one, so that not all begin with the same peer.
void MpiCommunicator::post_messages(MpiGroup& group, const Exchange& args) {
  const std::vector<std::size_t> from = segment_offsets(args.receive_bytes);
  const std::vector<std::size_t> to = segment_offsets(args.send_bytes);
  const int tag = leaving_ ? kFarewellTag : static_cast<int>(group.sequence++ % kTags);
  const int size = group.size();
  for (int step = 1; step < size; ++step) {
    const int peer = (group.rank + size - step) % size;
    const auto q = static_cast<std::size_t>(peer);
    messages_.receive(group.peer(peer), tag, args.receive.subspan(from[q], args.receive_bytes[q]));
  }
  for (int step = 1; step < size; ++step) {
    const int peer = (group.rank + step) % size;
    const auto q = static_cast<std::size_t>(peer);
    messages_.send(group.peer(peer), tag, args.send.subspan(to[q], args.send_bytes[q]));
  }
}

void MpiCommunicator::bid_farewell() {
  leaving_ = true;
  barrier();
}

void MpiCommunicator::await_messages(const MpiGroup& group, Lock& lock) {
  const auto expiry = Clock::now() + deadline_ * patience_;
  Backoff backoff;
  while (true) {
    const bool progress = messages_.poll();
    if (messages_.noticed() && !job_->failure) job_->failure = messages_.noticed();
    if (job_->failure) throw job_->failure->error();
    if (messages_.complete()) return;
    if (Clock::now() >= expiry) fail_absent(group);
    if (progress) backoff.reset();
    lock.unlock();
    backoff.pause();
    lock.lock();
  }
}

// The peers that wait for this rank would next take it for the absent one: they are told.
void MpiCommunicator::fail_absent(const MpiGroup& group) {
  const bool unknown = has_groups_ && &group == &all_;
  fail(absent_peer(unknown ? CommunicationError::kSomePeer : messages_.lowest_unfinished(),
                   deadline_ * patience_));
  throw job_->failure->error();
}

void MpiCommunicator::abort(const std::string& reason) noexcept {
  const Lock lock(job_->mutex);
  fail(aborted_peer(rank(), reason));
}

// A peer may wait in any of the communicators.
void MpiCommunicator::fail(const CommunicationFailure& failure) noexcept {
  if (job_->failure) return;
  job_->failure = failure;
  for (MpiCommunicator* const communicator : job_->communicators) communicator->send_notices();
}

// Small messages are buffered by MPI: normally they are out at once.
void MpiCommunicator::send_notices() noexcept {
  outgoing_ = make_notice(*job_->failure);
  std::vector<MPI_Request> requests;
  for (int peer = 0; peer < size(); ++peer) {
    if (peer == rank()) continue;
    MPI_Request request = MPI_REQUEST_NULL;
    MPI_Isend(&outgoing_, sizeof(Notice), MPI_BYTE, peer, 0, notices_, &request);
    requests.push_back(request);
  }
  const auto expiry = Clock::now() + kNoticeTime;
  int done = 0;
  while (done == 0 && Clock::now() < expiry) {
    MPI_Testall(static_cast<int>(requests.size()), requests.data(), &done, MPI_STATUSES_IGNORE);
    if (done == 0) std::this_thread::yield();
  }
}

/// MPI itself, unless the program has initialised it before: then it is also left running.
class MpiLibrary {
 public:
  MpiLibrary() {
    int initialised = 0;
    MPI_Initialized(&initialised);
    if (initialised != 0) return;
    int provided = 0;
    check_mpi(MPI_Init_thread(nullptr, nullptr, MPI_THREAD_SERIALIZED, &provided),
              "MPI_Init_thread");
    if (provided < MPI_THREAD_SERIALIZED) {
      throw UsageError("this MPI library is for programs of one thread",
                       "build gsplit with one that has MPI_THREAD_SERIALIZED");
    }
    owned_ = true;
  }
  void finalize() {
    if (owned_) MPI_Finalize();
  }

 private:
  bool owned_ = false;
};

/// Ranks of MPI's job that run on this host.
struct LocalPlace {
  int rank = 0;
  int size = 1;
};

LocalPlace find_local_place() {
  MPI_Comm host = MPI_COMM_NULL;
  check_mpi(MPI_Comm_split_type(MPI_COMM_WORLD, MPI_COMM_TYPE_SHARED, 0, MPI_INFO_NULL, &host),
            "MPI_Comm_split_type");
  LocalPlace place;
  check_mpi(MPI_Comm_rank(host, &place.rank), "MPI_Comm_rank");
  check_mpi(MPI_Comm_size(host, &place.size), "MPI_Comm_size");
  check_mpi(MPI_Comm_free(&host), "MPI_Comm_free");
  return place;
}

/// A killed mpirun leaves its ranks alive; they are to stop as if they had been asked.
void stop_with_launcher([[maybe_unused]] pid_t launcher) {
#ifdef __linux__
  prctl(PR_SET_PDEATHSIG, SIGTERM);
  if (getppid() != launcher) ::kill(getpid(), SIGTERM);  // it died before
#endif
}

/// Files of the shared memory of this host's ranks, which a launcher of Open MPI removes, and a
/// killed one leaves. All ranks have mapped them by now.
void remove_files_of_shared_memory() {
  std::ifstream maps("/proc/self/maps");
  for (std::string line; std::getline(maps, line);) {
    const std::string path = line.substr(std::min(line.find('/'), line.size()));
    if (path.find("/vader_segment.") == std::string::npos) continue;
    std::error_code ignored;  // another rank may have been here
    std::filesystem::remove(path, ignored);
  }
}

}  // namespace

struct MpiWorld::State {
  explicit State(std::chrono::milliseconds deadline)
      : communicator(std::make_shared<MpiJob>(), deadline) {}

  MpiLibrary library;  // before the communicator: initialised first
  MpiCommunicator communicator;
  LocalPlace local = find_local_place();
  int exceptions_before = std::uncaught_exceptions();
  pid_t launcher = 0;
};

MpiWorld::MpiWorld(std::chrono::milliseconds deadline) {
  const pid_t launcher = getppid();
  stop_with_launcher(launcher);
  state_ = std::make_unique<State>(deadline);
  state_->launcher = launcher;
  const int rank = state_->communicator.rank();
  if (rank != launcher_rank()) {
    throw UsageError("the launcher calls this rank " + std::to_string(launcher_rank()) +
                         ", but MPI calls it " + std::to_string(rank),
                     "use the mpirun or srun of the MPI library that gsplit was built with");
  }
}

// To finalise waits for the peers without a deadline, so first it is made sure that they come. It
// also asks the launcher, so without one there is nothing to finalise.
MpiWorld::~MpiWorld() {
  MpiCommunicator& communicator = state_->communicator;
  if (std::uncaught_exceptions() > state_->exceptions_before) {
    communicator.abort("it ended with an error");
  }
  try {
    communicator.bid_farewell();
  } catch (const std::exception&) {
    return;
  }
  if (getppid() != state_->launcher) {
    remove_files_of_shared_memory();
    return;
  }
  MpiLibrary library = state_->library;
  state_.reset();
  library.finalize();
}

Communicator& MpiWorld::communicator() { return state_->communicator; }
int MpiWorld::local_rank() const { return state_->local.rank; }
int MpiWorld::local_size() const { return state_->local.size; }

std::string mpi_library() {
  std::array<char, MPI_MAX_LIBRARY_VERSION_STRING> text{};
  int length = 0;
  MPI_Get_library_version(text.data(), &length);
  const std::string_view whole(text.data(), static_cast<std::size_t>(length));
  return std::string(whole.substr(0, whole.find_first_of(",\n")));  // the build's details follow
}

}  // namespace gsplit
