// Collectives between the workers of a job, each with a deadline.
//
// All workers call the same collectives in the same order. A transport implements one primitive,
// exchange(); the collectives are written once on top of it, so their results are bit-identical
// whatever the transport. A Communicator belongs to one worker thread.
//
// Errors: CommunicationError when a peer did not answer within the deadline, or has left. After an
// error the communicator is unusable: the job must end.
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <type_traits>
#include <utility>
#include <vector>

#include "kernels/base/error.h"
#include "kernels/base/trace.h"
#include "kernels/matrix.h"

namespace gsplit {

/// A peer did not take part in a collective. `peer` is its rank, kSomePeer where one has not come
/// and the transport cannot tell which, or -1 where it cannot tell whose fault it is.
class CommunicationError : public SystemError {
 public:
  static constexpr int kSomePeer = -2;

  CommunicationError(int peer, const std::string& what, bool told_by_peer = false)
      : SystemError(what), peer_(peer), told_by_peer_(told_by_peer) {}
  int peer() const { return peer_; }
  /// Whether the peer has said so itself, by abort(): it lives and reports its own failure.
  bool told_by_peer() const { return told_by_peer_; }

 private:
  int peer_;
  bool told_by_peer_;
};

/// One all-to-all of bytes. Segment q of `send` goes to rank q; segment q of `receive` comes from
/// rank q. Segments are contiguous in rank order. send_bytes[q] here equals receive_bytes[own rank]
/// at q. The self segment, if not empty, is copied locally. Zero-byte segments cost nothing.
struct Exchange {
  std::span<const std::byte> send;
  std::span<const std::size_t> send_bytes;  ///< (size), host
  std::span<std::byte> receive;
  std::span<const std::size_t> receive_bytes;  ///< (size), host
};

class Communicator {
 public:
  virtual ~Communicator() = default;
  virtual int rank() const = 0;
  virtual int size() const = 0;

  /// The primitive. Returns when `receive` is complete and `send` may be reused. Throws
  /// CommunicationError.
  void exchange(const Exchange& args);
  /// exchange() in two halves, between which this rank works: what the arguments point to stays as
  /// it is until finish() has returned. One at a time, and no other collective in between, neither
  /// here nor in another part of the same split(). Both throw CommunicationError.
  void start(const Exchange& args);
  void finish();
  /// In place of finish(), where this rank fails: peers get an error. Afterwards nobody reads or
  /// writes what the arguments point to.
  void abandon() noexcept;
  /// Bytes that this rank has sent to others so far, whatever the collective.
  std::uint64_t bytes_sent() const { return bytes_sent_; }
  /// Calls `coming` whenever this rank comes to an exchange, before it waits for others.
  void on_coming(std::function<void()> coming) { coming_ = std::move(coming); }
  /// From now on peers are waited for so many times the deadline. Use Patience.
  virtual void set_patience(int times) = 0;
  /// Records collectives as spans, with the bytes that this rank sends; nullptr: none.
  void trace_with(Tracer* tracer) { tracer_ = tracer; }

  /// Ranks with the same `color` get a communicator among them, in the order of their ranks here.
  /// Its errors name ranks of this one, and abort() of either ends both. It must not outlive this
  /// one, and is not split again. From then on a rank that is awaited here may itself wait in its
  /// group: who is missing can no longer be told (kSomePeer). Collective.
  virtual std::unique_ptr<Communicator> split(int color) = 0;

  /// The same ranks for another thread of each: collectives here and there may be under way at
  /// once. Its errors are those of this one, and abort() of either ends both. It must not outlive
  /// this one, which is the whole and no part of a split(). Collective.
  virtual std::unique_ptr<Communicator> duplicate() = 0;

  /// Tells all peers, which are or will be waiting in a collective, that this worker ends with an
  /// error. Never throws.
  virtual void abort(const std::string& reason) noexcept = 0;

  /// Counts for a following exchange: returns what each rank has for us. values: (size).
  std::vector<std::uint64_t> exchange_counts(std::span<const std::uint64_t> values);
  /// Everybody's `mine`, in rank order; all have the same length. all.size() == size() *
  /// mine.size().
  void all_gather(std::span<const std::byte> mine, std::span<std::byte> all);
  /// Everybody's `mine`, of any length, by rank.
  std::vector<std::vector<std::byte>> all_gather_v(std::span<const std::byte> mine);
  /// Everybody's `mine` at `root`, by rank; empty elsewhere.
  std::vector<std::vector<std::byte>> gather_v(std::span<const std::byte> mine, int root);
  /// Copies root's bytes to everybody; all have the same length.
  void broadcast(std::span<std::byte> data, int root);
  /// Element-wise sum, in place: reduce-scatter by exchange, summed in rank order, then all_gather.
  void all_reduce_sum(MatrixView data);
  void barrier();

  template <class T>
  std::vector<T> all_gather_value(const T& mine) {
    static_assert(std::is_trivially_copyable_v<T>);
    std::vector<T> all(static_cast<std::size_t>(size()));
    all_gather(std::as_bytes(std::span(&mine, 1)), std::as_writable_bytes(std::span(all)));
    return all;
  }

 private:
  void start_and_count(const Exchange& args);
  // The halves of the transport.
  virtual void start_transfer(const Exchange& args) = 0;  ///< `args` lives until the end
  virtual void finish_transfer() = 0;
  virtual void abandon_transfer() noexcept = 0;

  Exchange under_way_{};
  std::uint64_t bytes_sent_ = 0;
  std::function<void()> coming_;
  Tracer* tracer_ = nullptr;
};

/// While it lives, this rank waits in the communicator's collectives for so many times the
/// deadline: for peers that have work which others do not have, as rank 0 has its files. That a
/// peer dies or stops meanwhile must be told by others.
class Patience {
 public:
  Patience(Communicator& communicator, int times) : communicator_(communicator) {
    communicator.set_patience(times);
  }
  ~Patience() { communicator_.set_patience(1); }
  Patience(const Patience&) = delete;
  Patience& operator=(const Patience&) = delete;

 private:
  Communicator& communicator_;
};

}  // namespace gsplit
