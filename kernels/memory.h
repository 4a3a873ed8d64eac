// First of the five backend interfaces: memory and streams of one device.
//
// Ownership: Buffer owns device memory and returns it to its Memory, which must outlive it. Memory
// and Stream are used by one thread at a time.
#pragma once

#include <cstddef>
#include <memory>
#include <span>
#include <utility>

#include "kernels/base/error.h"

namespace gsplit {

/// A place in the work of a stream, for another stream of the same device to wait for.
class Event {
 public:
  virtual ~Event() = default;
};

/// An ordered queue of work on a device. Ops return as soon as the work is queued; on the CPU that
/// is when it is done.
class Stream {
 public:
  virtual ~Stream() = default;
  /// Returns when all queued work is done.
  virtual void synchronize() = 0;
  /// Puts the event behind what is queued so far, wherever it was before.
  virtual void record(Event& event) = 0;
  /// What is queued from now on begins after what stood before the event when this was called. The
  /// host does not wait. An event that was never recorded keeps nothing back.
  virtual void wait(const Event& event) = 0;
};

class Memory {
 public:
  virtual ~Memory() = default;
  /// Uninitialised device memory, aligned to 64 bytes; nullptr for 0 bytes. Throws SystemError when
  /// there is no more.
  virtual void* allocate(std::size_t bytes) = 0;
  /// May be called while queued work still uses the memory: it is handed out again only after that
  /// work.
  virtual void release(void* data, std::size_t bytes) noexcept = 0;
  virtual std::unique_ptr<Stream> create_stream() = 0;
  virtual std::unique_ptr<Event> create_event() = 0;
  /// Queue a copy; either side may be host memory or memory of this device. Where a side is
  /// ordinary host memory the copy has been made on return; page-locked memory (Backend::pinned())
  /// must not change before the stream has passed.
  virtual void copy(void* destination, const void* source, std::size_t bytes, Stream& stream) = 0;
  virtual void fill_zero(void* destination, std::size_t bytes, Stream& stream) = 0;
  /// Bytes that can be allocated at present, about.
  virtual std::size_t available() const = 0;
  /// Bytes taken from a GPU at present, in use or kept for what comes; 0 of the host. May be called
  /// by any thread.
  virtual std::size_t held() const { return 0; }
  /// True where device memory can be read and written by the host in place.
  virtual bool host_accessible() const = 0;
};

/// An owned array of `size` trivially copyable elements in device memory. Movable, not copyable.
template <class T>
class Buffer {
 public:
  Buffer() = default;
  /// Refers to what somebody else owns, who must outlive it.
  static Buffer borrowed(T* data, std::size_t size) {
    Buffer buffer;
    buffer.data_ = data;
    buffer.size_ = size;
    return buffer;
  }
  Buffer(Memory& memory, std::size_t size)
      : memory_(&memory), data_(static_cast<T*>(memory.allocate(size * sizeof(T)))), size_(size) {}
  Buffer(Buffer&& other) noexcept
      : memory_(other.memory_),
        data_(std::exchange(other.data_, nullptr)),
        size_(std::exchange(other.size_, 0)),
        left_out_(std::exchange(other.left_out_, 0)) {}
  Buffer& operator=(Buffer&& other) noexcept {
    std::swap(memory_, other.memory_);
    std::swap(data_, other.data_);
    std::swap(size_, other.size_);
    std::swap(left_out_, other.left_out_);
    return *this;
  }
  Buffer(const Buffer&) = delete;
  Buffer& operator=(const Buffer&) = delete;
  ~Buffer() {
    if (data_ != nullptr && memory_ != nullptr) {
      memory_->release(data_, (size_ + left_out_) * sizeof(T));
    }
  }
  /// Leaves the first `size` elements. The others' memory stays this buffer's. REQUIRES: there are
  /// as many.
  void shrink(std::size_t size) {
    GSPLIT_CHECK(size <= size_);
    left_out_ += size_ - size;
    size_ = size;
  }

  T* data() { return data_; }
  const T* data() const { return data_; }
  std::size_t size() const { return size_; }
  std::span<T> span() { return {data_, size_}; }
  std::span<const T> span() const { return {data_, size_}; }

 private:
  Memory* memory_ = nullptr;  // null: another one's
  T* data_ = nullptr;
  std::size_t size_ = 0;
  std::size_t left_out_ = 0;  // elements behind them
};

}  // namespace gsplit
