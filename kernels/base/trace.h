// Spans of time of one worker, for a Chrome trace of sampled steps (docs/seeing.md). A span is an
// object: it begins where it is made and ends with its scope, so the spans of a thread nest.
//
// Off, a span costs a look at a flag. On, it costs two clock readings and a lock.
#pragma once

#include <array>
#include <atomic>
#include <cstdint>
#include <mutex>
#include <thread>
#include <vector>

namespace gsplit {

/// A span that has ended; travels between workers as bytes.
struct TraceRecord {
  static constexpr std::uint64_t kNoBytes = ~std::uint64_t{0};
  static constexpr std::int32_t kNoLayer = -1;

  std::array<char, 24> name{};  ///< ends with a zero
  std::int64_t begin_ns = 0;    ///< on Tracer::now()
  std::int64_t end_ns = 0;
  std::uint64_t step = 0;
  std::uint64_t bytes = kNoBytes;  ///< that this worker sends, of a collective
  std::int32_t layer = kNoLayer;   ///< from 1, the input layer
  std::uint32_t thread = 0;        ///< 0: the first of the worker that recorded a span
};

/// The spans of one worker. Thread-safe.
class Tracer {
 public:
  /// Spans that are kept at most between two calls of take(); the others are counted.
  static constexpr std::size_t kMostRecords = 1 << 14;

  bool on() const { return on_.load(std::memory_order_relaxed); }
  /// Spans that begin from now on are recorded as of `step`. Thread 0 is the one that calls this.
  void start(std::uint64_t step);
  /// Spans that begin from now on are not; those that have begun are, where they end before take().
  void stop();

  void record(TraceRecord record);
  /// What has been recorded, in the order of the ends; none of it is kept.
  std::vector<TraceRecord> take();
  /// Spans for which there was no room, so far.
  std::uint64_t num_lost() const;

  /// Nanoseconds on this host's steady clock.
  static std::int64_t now();

 private:
  std::atomic<bool> on_{false};
  mutable std::mutex mutex_;
  std::uint64_t step_ = 0;
  std::uint64_t lost_ = 0;
  std::vector<std::thread::id> threads_;  // by TraceRecord::thread
  std::vector<TraceRecord> records_;
};

/// Records its lifetime, where `tracer` is there and on when it begins.
class TraceSpan {
 public:
  /// `name`: a literal; what is longer than a record holds is cut.
  TraceSpan(Tracer* tracer, const char* name, std::int32_t layer = TraceRecord::kNoLayer,
            std::uint64_t bytes = TraceRecord::kNoBytes)
      : tracer_(tracer != nullptr && tracer->on() ? tracer : nullptr),
        name_(name),
        layer_(layer),
        bytes_(bytes),
        begin_ns_(tracer_ != nullptr ? Tracer::now() : 0) {}
  ~TraceSpan() {
    if (tracer_ != nullptr) end();
  }
  /// Of a collective whose bytes are known at its end.
  void set_bytes(std::uint64_t bytes) { bytes_ = bytes; }
  TraceSpan(const TraceSpan&) = delete;
  TraceSpan& operator=(const TraceSpan&) = delete;

 private:
  void end() noexcept;

  Tracer* const tracer_;
  const char* const name_;
  const std::int32_t layer_;
  std::uint64_t bytes_;
  const std::int64_t begin_ns_;
};

}  // namespace gsplit
