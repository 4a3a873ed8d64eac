// Memory and streams of one GPU, and page-locked memory of its host.
//
// Blocks that are released are kept by size and handed out again. That may happen while queued work
// still uses them, so each side has a rule that makes it safe:
//  - device memory: all work of a backend is queued on its one stream, so that whoever gets a block
//    next comes later on that stream; two streams of one GPU are two backends, and what one reads
//    of the other's is released after an event;
//  - page-locked memory: each copy marks the block with an event, and a marked block is handed out
//    only when the event has passed.
#pragma once

#include <cuda_runtime_api.h>

#include <atomic>
#include <functional>
#include <map>
#include <unordered_map>
#include <vector>

#include "kernels/memory.h"

namespace gsplit::cuda {

/// Of the GPU that is current when it is made.
class CudaEvent final : public Event {
 public:
  CudaEvent();
  ~CudaEvent() override;
  CudaEvent(const CudaEvent&) = delete;
  CudaEvent& operator=(const CudaEvent&) = delete;
  bool has_passed() const;
  cudaEvent_t get() const { return event_; }

 private:
  cudaEvent_t event_ = nullptr;
};

class CudaStream final : public Stream {
 public:
  CudaStream();
  ~CudaStream() override;
  CudaStream(const CudaStream&) = delete;
  CudaStream& operator=(const CudaStream&) = delete;
  /// With watches, polls and asks them between two looks: what one throws ends the waiting.
  void synchronize() override;
  void record(Event& event) override;
  void wait(const Event& event) override;
  cudaStream_t get() const { return stream_; }
  /// `who`: its owner, of one watch at most, who ends it.
  void watch_with(const void* who, std::function<void()> watch) {
    watches_[who] = std::move(watch);
  }
  void end_watch(const void* who) { watches_.erase(who); }

 private:
  cudaStream_t stream_ = nullptr;
  std::map<const void*, std::function<void()>> watches_;
};

/// REQUIRES: the stream is one of this module's.
inline cudaStream_t raw(Stream& stream) { return static_cast<CudaStream&>(stream).get(); }

class PinnedMemory final : public Memory {
 public:
  PinnedMemory() = default;
  ~PinnedMemory() override;
  PinnedMemory(const PinnedMemory&) = delete;
  PinnedMemory& operator=(const PinnedMemory&) = delete;

  void* allocate(std::size_t bytes) override;
  void release(void* data, std::size_t bytes) noexcept override;
  /// There is none: host work is not queued.
  std::unique_ptr<Stream> create_stream() override;
  std::unique_ptr<Event> create_event() override;
  void copy(void* destination, const void* source, std::size_t bytes, Stream& stream) override;
  void fill_zero(void* destination, std::size_t bytes, Stream& stream) override;
  std::size_t available() const override;
  bool host_accessible() const override { return true; }

  /// A copy to or from `address` has been queued on `stream`. Nothing where the address is not in
  /// this memory.
  void mark_use(const void* address, cudaStream_t stream);

 private:
  struct Block {
    std::size_t bytes = 0;
    cudaEvent_t last_use = nullptr;  // made at the first use
  };
  static bool has_passed(const Block& block);

  std::map<const std::byte*, Block> blocks_;                       // all, by address
  std::unordered_map<std::size_t, std::vector<std::byte*>> free_;  // by size class
};

class CudaMemory final : public Memory {
 public:
  CudaMemory(int device, PinnedMemory& pinned) : device_(device), pinned_(pinned) {}
  ~CudaMemory() override;
  CudaMemory(const CudaMemory&) = delete;
  CudaMemory& operator=(const CudaMemory&) = delete;

  void* allocate(std::size_t bytes) override;
  void release(void* data, std::size_t bytes) noexcept override;
  /// REQUIRES: called once, see above.
  std::unique_ptr<Stream> create_stream() override;
  std::unique_ptr<Event> create_event() override;
  void copy(void* destination, const void* source, std::size_t bytes, Stream& stream) override;
  void fill_zero(void* destination, std::size_t bytes, Stream& stream) override;
  std::size_t available() const override;
  std::size_t held() const override { return held_; }
  bool host_accessible() const override { return false; }

  /// Makes this memory's GPU the one that calls of this thread mean. Each entry to the backend does
  /// so: a thread may use several GPUs.
  void make_current() const;

  /// `count` device values for the host, once the stream has passed.
  template <class T>
  std::vector<T> read(const T* values, std::size_t count, Stream& stream) {
    std::vector<T> host(count);
    copy(host.data(), values, count * sizeof(T), stream);  // waits, since this memory is ordinary
    return host;
  }

 private:
  void give_back_free_blocks();
  /// nullptr where CUDA has no such block.
  void* take_block(std::size_t bytes);
  /// From host memory that CUDA does not know.
  void stage(std::byte* destination, const std::byte* source, std::size_t bytes, Stream& stream);
  /// Between this memory and itself or page-locked memory.
  void queue_copy(void* destination, const void* source, std::size_t bytes, Stream& stream);

  int device_;
  PinnedMemory& pinned_;
  std::unordered_map<std::size_t, std::vector<void*>> free_;  // by size class
  std::atomic<std::size_t> held_{0};
  bool has_stream_ = false;
};

}  // namespace gsplit::cuda
