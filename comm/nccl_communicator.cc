#include "comm/nccl_communicator.h"

#include <cstring>
#include <exception>
#include <sstream>
#include <string>
#include <thread>

#include "kernels/cuda/check.h"
#include "kernels/cuda/nccl.h"

namespace gsplit::cuda {
namespace {

/// First byte of each rank's segment, and the total: (bytes.size() + 1).
std::vector<std::size_t> offsets_of(std::span<const std::size_t> bytes) {
  std::vector<std::size_t> offsets{0};
  for (const std::size_t count : bytes) offsets.push_back(offsets.back() + count);
  return offsets;
}

/// Bytes before each rank's part of `elements`, cut as evenly as possible: (ranks + 1).
std::vector<std::size_t> even_parts(std::size_t elements, std::size_t ranks, std::size_t width) {
  std::vector<std::size_t> offsets(ranks + 1);
  for (std::size_t q = 0; q <= ranks; ++q) offsets[q] = elements * q / ranks * width;
  return offsets;
}

std::vector<std::size_t> lengths_of(const std::vector<std::size_t>& offsets) {
  std::vector<std::size_t> lengths;
  for (std::size_t q = 0; q + 1 < offsets.size(); ++q) {
    lengths.push_back(offsets[q + 1] - offsets[q]);
  }
  return lengths;
}

/// The streams and events that are made next are this GPU's.
CudaMemory& made_current(CudaMemory& memory) {
  memory.make_current();
  return memory;
}

}  // namespace

NcclCommunicator::NcclCommunicator(const PeerOptions& options, Backend& backend, CudaMemory& memory,
                                   CudaStream& stream)
    : rank_(options.rank),
      size_(options.size),
      deadline_(options.deadline),
      job_has_failed_(options.job_has_failed),
      coming_(options.coming),
      backend_(backend),
      memory_(made_current(memory)),
      stream_(stream) {
  meet(options);
  stream_.watch_with(this, [this] { watch(); });
  warm_up();
}

// A communicator that has not failed is left together with the peers, who may still be reading.
// After any other failure they do not come.
NcclCommunicator::~NcclCommunicator() {
  stream_.end_watch(this);
  if (comm_ == nullptr) return;
  if (std::uncaught_exceptions() > exceptions_before_ || (job_has_failed_ && job_has_failed_())) {
    ncclCommAbort(comm_);
    return;
  }
  ncclResult_t state = ncclCommFinalize(comm_);
  const Clock::time_point end = Clock::now() + deadline_;
  while (state == ncclInProgress && Clock::now() < end) {
    std::this_thread::sleep_for(std::chrono::microseconds(100));
    if (ncclCommGetAsyncError(comm_, &state) != ncclSuccess) break;
  }
  if (state == ncclSuccess) {
    ncclCommDestroy(comm_);
  } else {
    ncclCommAbort(comm_);
  }
}

void NcclCommunicator::meet(const PeerOptions& options) {
  ncclUniqueId id{};
  GSPLIT_CHECK(options.meeting.size() == sizeof(id));
  std::memcpy(&id, options.meeting.data(), sizeof(id));
  ncclConfig_t config = NCCL_CONFIG_INITIALIZER;
  config.blocking = 0;
  check(ncclCommInitRankConfig(&comm_, size_, id, rank_, &config), "meeting the other GPUs");
  settle();
}

// NCCL connects two ranks when they first talk: that shall not be in the first step.
void NcclCommunicator::warm_up() {
  const std::vector<std::size_t> one(static_cast<std::size_t>(size_), 1);
  Buffer<std::byte> sent(memory_, one.size()), received(memory_, one.size());
  memory_.fill_zero(sent.data(), sent.size(), stream_);
  exchange({sent.span(), one, received.span(), one}, stream_);
  stream_.synchronize();
  bytes_sent_ = 0;
}

void NcclCommunicator::start(const Exchange& args, Stream& stream) {
  GSPLIT_CHECK(&stream == &stream_);
  if (coming_) coming_();
  memory_.make_current();
  const std::vector<std::size_t> from = offsets_of(args.send_bytes);
  const std::vector<std::size_t> to = offsets_of(args.receive_bytes);
  const auto self = static_cast<std::size_t>(rank_);
  forget_ended();
  Pending exchange = new_pending();
  stream_.record(ready_);
  wire_.wait(ready_);
  wire_.record(*exchange.begun);
  check(ncclGroupStart(), "an exchange");
  for (std::size_t q = 0; q < args.send_bytes.size(); ++q) {
    if (q == self) continue;
    const int peer = static_cast<int>(q);
    // Neither side speaks of an empty segment: both know its length.
    if (args.send_bytes[q] > 0) {
      check(ncclSend(args.send.data() + from[q], args.send_bytes[q], ncclUint8, peer, comm_,
                     wire_.get()),
            "sending to a GPU");
      bytes_sent_ += args.send_bytes[q];
    }
    if (args.receive_bytes[q] > 0) {
      check(ncclRecv(args.receive.data() + to[q], args.receive_bytes[q], ncclUint8, peer, comm_,
                     wire_.get()),
            "receiving from a GPU");
    }
  }
  check(ncclGroupEnd(), "an exchange");
  settle();
  memory_.copy(args.receive.data() + to[self], args.send.data() + from[self], args.send_bytes[self],
               wire_);
  wire_.record(*exchange.ended);
  pending_.push_back(std::move(exchange));
}

void NcclCommunicator::finish(Stream& stream) {
  if (!pending_.empty()) stream.wait(*pending_.back().ended);
}

// Reduce-scatter by an exchange, summed in rank order, then an exchange of the sums.
void NcclCommunicator::all_reduce_sum(MatrixView data, Stream& stream) {
  GSPLIT_CHECK(data.rows <= 1 || data.stride == data.cols);
  const std::size_t width = size_of(data.dtype);
  const auto ranks = static_cast<std::size_t>(size_), self = static_cast<std::size_t>(rank_);
  const std::span<std::byte> bytes(static_cast<std::byte*>(data.data),
                                   static_cast<std::size_t>(data.rows * data.cols) * width);
  const std::vector<std::size_t> offsets = even_parts(bytes.size() / width, ranks, width);
  const std::vector<std::size_t> lengths = lengths_of(offsets);
  const std::vector<std::size_t> own(ranks, lengths[self]);
  const auto elements = static_cast<std::int64_t>(lengths[self] / width);

  Matrix parts(memory_, data.dtype, size_, elements);
  exchange({bytes, lengths, {static_cast<std::byte*>(parts.data()), parts.bytes()}, own}, stream);
  const MatrixView sum = parts.view().slice(0, 1);
  for (std::int64_t q = 1; q < size_; ++q) {
    backend_.dense().add({parts.view().slice(q, 1), sum}, stream);
  }
  Buffer<std::byte> copies(memory_, parts.bytes());
  for (std::size_t q = 0; q < ranks; ++q) {
    memory_.copy(copies.data() + q * own[q], sum.data, own[q], stream);
  }
  exchange({copies.span(), own, bytes, lengths}, stream);
}

NcclCommunicator::Pending NcclCommunicator::new_pending() {
  if (spare_.empty()) {
    return {std::make_unique<CudaEvent>(), std::make_unique<CudaEvent>(), Clock::now()};
  }
  Pending reused = std::move(spare_.back());
  spare_.pop_back();
  reused.since = Clock::now();
  return reused;
}

void NcclCommunicator::forget_ended() {
  while (!pending_.empty() && pending_.front().ended->has_passed()) {
    spare_.push_back(std::move(pending_.front()));
    pending_.pop_front();
    if (!pending_.empty()) pending_.front().since = Clock::now();
  }
}

void NcclCommunicator::settle() {
  const Clock::time_point start = Clock::now();
  ncclResult_t state = ncclInProgress;
  while (true) {
    const ncclResult_t asked = ncclCommGetAsyncError(comm_, &state);
    if (asked != ncclSuccess) fail(ncclGetErrorString(asked));
    if (state != ncclInProgress) break;
    require_health();
    require_in_time(start);
    std::this_thread::sleep_for(std::chrono::microseconds(20));
  }
  if (state != ncclSuccess) fail(ncclGetErrorString(state));
}

void NcclCommunicator::watch() {
  require_health();
  forget_ended();
  if (pending_.empty()) return;
  Pending& first = pending_.front();
  if (!first.begun->has_passed()) first.since = Clock::now();
  require_in_time(first.since);
}

void NcclCommunicator::require_health() {
  ncclResult_t state = ncclSuccess;
  if (comm_ == nullptr || ncclCommGetAsyncError(comm_, &state) != ncclSuccess) {
    fail("the communicator is gone");
  }
  if (state != ncclSuccess && state != ncclInProgress) fail(ncclGetErrorString(state));
  if (job_has_failed_ && job_has_failed_()) fail("another worker has failed");
}

void NcclCommunicator::require_in_time(Clock::time_point since) {
  if (Clock::now() - since <= deadline_) return;
  abort();
  const std::chrono::duration<double> seconds = deadline_;
  std::ostringstream text;
  text << "did not take part in a collective between GPUs within " << seconds.count() << " s";
  throw CommunicationError(CommunicationError::kSomePeer, text.str());
}

void NcclCommunicator::check(ncclResult_t result, const char* what) {
  if (result == ncclSuccess || result == ncclInProgress) return;
  fail(std::string(what) + " failed: " + ncclGetErrorString(result));
}

void NcclCommunicator::abort() noexcept {
  if (comm_ != nullptr) ncclCommAbort(std::exchange(comm_, nullptr));
}

void NcclCommunicator::fail(const std::string& what) {
  abort();
  throw CommunicationError(-1, "NCCL: " + what);
}

std::shared_ptr<DeviceCommunicator> make_nccl_communicator(const PeerOptions& options,
                                                           Backend& backend, Stream& stream) {
  return std::make_shared<NcclCommunicator>(options, backend,
                                            static_cast<CudaMemory&>(backend.memory()),
                                            static_cast<CudaStream&>(stream));
}

std::vector<std::byte> make_meeting() {
  ncclUniqueId id{};
  const ncclResult_t result = ncclGetUniqueId(&id);
  if (result != ncclSuccess) {
    throw SystemError(std::string("NCCL: no place to meet: ") + ncclGetErrorString(result),
                      "see what gsplit doctor says of the GPUs");
  }
  std::vector<std::byte> meeting(sizeof(id));
  std::memcpy(meeting.data(), &id, sizeof(id));
  return meeting;
}

int nccl_version() {
  int version = 0;
  return ncclGetVersion(&version) == ncclSuccess ? version : 0;
}

}  // namespace gsplit::cuda
