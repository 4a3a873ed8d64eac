#include "kernels/cuda/memory.h"

#include <algorithm>
#include <chrono>
#include <cstring>
#include <string>
#include <thread>

#include "kernels/base/available_memory.h"
#include "kernels/base/size_class.h"
#include "kernels/cuda/check.h"

namespace gsplit::cuda {
namespace {

constexpr std::chrono::microseconds kPollPause{20};
constexpr std::size_t kStagedAtOnce = std::size_t{32} << 20;

/// Host memory that CUDA does not know.
bool is_ordinary(const void* address) {
  cudaPointerAttributes attributes{};
  check(cudaPointerGetAttributes(&attributes, address), "asking what a pointer is");
  return attributes.type == cudaMemoryTypeUnregistered;
}

}  // namespace

CudaEvent::CudaEvent() {
  check(cudaEventCreateWithFlags(&event_, cudaEventDisableTiming), "making an event");
}

CudaEvent::~CudaEvent() { cudaEventDestroy(event_); }

bool CudaEvent::has_passed() const { return cudaEventQuery(event_) == cudaSuccess; }

CudaStream::CudaStream() {
  check(cudaStreamCreateWithFlags(&stream_, cudaStreamNonBlocking), "making a stream");
}

CudaStream::~CudaStream() { cudaStreamDestroy(stream_); }

void CudaStream::synchronize() {
  while (!watches_.empty()) {
    const cudaError_t status = cudaStreamQuery(stream_);
    if (status != cudaErrorNotReady) return check(status, "work on the GPU");
    for (const auto& [who, watch] : watches_) watch();
    std::this_thread::sleep_for(kPollPause);
  }
  check(cudaStreamSynchronize(stream_), "work on the GPU");
}

void CudaStream::record(Event& event) {
  check(cudaEventRecord(static_cast<CudaEvent&>(event).get(), stream_), "marking the stream");
}

void CudaStream::wait(const Event& event) {
  check(cudaStreamWaitEvent(stream_, static_cast<const CudaEvent&>(event).get(), 0),
        "waiting for another stream");
}

PinnedMemory::~PinnedMemory() {
  for (const auto& [data, block] : blocks_) {
    if (block.last_use != nullptr) cudaEventDestroy(block.last_use);
    cudaFreeHost(const_cast<std::byte*>(data));
  }
}

bool PinnedMemory::has_passed(const Block& block) {
  return block.last_use == nullptr || cudaEventQuery(block.last_use) == cudaSuccess;
}

void* PinnedMemory::allocate(std::size_t bytes) {
  if (bytes == 0) return nullptr;
  const std::size_t rounded = size_class(bytes);
  std::vector<std::byte*>& list = free_[rounded];
  for (std::size_t i = list.size(); i-- > 0;) {
    std::byte* const block = list[i];
    if (!has_passed(blocks_.at(block))) continue;
    list.erase(list.begin() + static_cast<std::ptrdiff_t>(i));
    return block;
  }
  void* block = nullptr;
  if (cudaHostAlloc(&block, rounded, cudaHostAllocDefault) != cudaSuccess) {
    cudaGetLastError();  // the next check is not to find this one
    throw SystemError(
        "out of page-locked host memory: " + std::to_string(rounded) + " bytes were refused",
        "use a smaller --batch-size or --fanout, or more workers");
  }
  blocks_[static_cast<std::byte*>(block)] = {.bytes = rounded};
  return block;
}

void PinnedMemory::release(void* data, std::size_t bytes) noexcept {
  free_[size_class(bytes)].push_back(static_cast<std::byte*>(data));
}

std::unique_ptr<Stream> PinnedMemory::create_stream() {
  GSPLIT_CHECK(false);
  return nullptr;
}

std::unique_ptr<Event> PinnedMemory::create_event() {
  GSPLIT_CHECK(false);
  return nullptr;
}

void PinnedMemory::copy(void* destination, const void* source, std::size_t bytes, Stream&) {
  if (bytes > 0) std::memcpy(destination, source, bytes);
}

void PinnedMemory::fill_zero(void* destination, std::size_t bytes, Stream&) {
  if (bytes > 0) std::memset(destination, 0, bytes);
}

std::size_t PinnedMemory::available() const { return available_memory(); }

void PinnedMemory::mark_use(const void* address, cudaStream_t stream) {
  const auto* const byte = static_cast<const std::byte*>(address);
  auto place = blocks_.upper_bound(byte);
  if (place == blocks_.begin()) return;
  auto& [data, block] = *--place;
  if (byte >= data + block.bytes) return;
  if (block.last_use == nullptr) {
    check(cudaEventCreateWithFlags(&block.last_use, cudaEventDisableTiming), "making an event");
  }
  check(cudaEventRecord(block.last_use, stream), "marking a copy");
}

CudaMemory::~CudaMemory() { give_back_free_blocks(); }

void CudaMemory::make_current() const { check(cudaSetDevice(device_), "choosing the GPU"); }

void CudaMemory::give_back_free_blocks() {
  for (auto& [bytes, blocks] : free_) {
    for (void* block : blocks) cudaFree(block);
    held_ -= bytes * blocks.size();
    blocks.clear();
  }
}

void* CudaMemory::take_block(std::size_t bytes) {
  void* block = nullptr;
  if (cudaMalloc(&block, bytes) != cudaSuccess) return nullptr;
  held_ += bytes;
  return block;
}

void* CudaMemory::allocate(std::size_t bytes) {
  if (bytes == 0) return nullptr;
  const std::size_t rounded = size_class(bytes);
  std::vector<void*>& blocks = free_[rounded];
  if (!blocks.empty()) {
    void* const block = blocks.back();
    blocks.pop_back();
    return block;
  }
  make_current();
  if (void* const block = take_block(rounded)) return block;
  give_back_free_blocks();  // of other sizes; cudaFree waits for the work that uses them
  if (void* const block = take_block(rounded)) return block;
  cudaGetLastError();  // the next check is not to find this one
  std::size_t free_bytes = 0, total_bytes = 0;
  cudaMemGetInfo(&free_bytes, &total_bytes);
  throw SystemError("out of GPU memory: " + std::to_string(rounded) + " bytes were refused, " +
                        std::to_string(free_bytes) + " of " + std::to_string(total_bytes) +
                        " are free",
                    "use a smaller --batch-size, --fanout or --hidden, or more GPUs");
}

void CudaMemory::release(void* data, std::size_t bytes) noexcept {
  free_[size_class(bytes)].push_back(data);
}

std::unique_ptr<Stream> CudaMemory::create_stream() {
  GSPLIT_CHECK(!has_stream_);
  has_stream_ = true;
  make_current();
  return std::make_unique<CudaStream>();
}

std::unique_ptr<Event> CudaMemory::create_event() {
  make_current();
  return std::make_unique<CudaEvent>();
}

// Ordinary host memory goes by way of our page-locked memory and never to CUDA itself, which would
// wait for the stream inside the call: behind a collective that a dead peer never ends.
void CudaMemory::copy(void* destination, const void* source, std::size_t bytes, Stream& stream) {
  if (bytes == 0) return;
  make_current();
  if (is_ordinary(source)) {
    stage(static_cast<std::byte*>(destination), static_cast<const std::byte*>(source), bytes,
          stream);
  } else if (is_ordinary(destination)) {
    Buffer<std::byte> staged(pinned_, bytes);
    queue_copy(staged.data(), source, bytes, stream);
    stream.synchronize();
    std::memcpy(destination, staged.data(), bytes);
  } else {
    queue_copy(destination, source, bytes, stream);
  }
}

/// Piece by piece: page-locked memory is kept once it has been had.
void CudaMemory::stage(std::byte* destination, const std::byte* source, std::size_t bytes,
                       Stream& stream) {
  for (std::size_t at = 0; at < bytes; at += kStagedAtOnce) {
    const std::size_t piece = std::min(kStagedAtOnce, bytes - at);
    Buffer<std::byte> staged(pinned_, piece);
    std::memcpy(staged.data(), source + at, piece);
    queue_copy(destination + at, staged.data(), piece, stream);
  }
}

void CudaMemory::queue_copy(void* destination, const void* source, std::size_t bytes,
                            Stream& stream) {
  check(cudaMemcpyAsync(destination, source, bytes, cudaMemcpyDefault, raw(stream)),
        "copying to or from the GPU");
  pinned_.mark_use(source, raw(stream));
  pinned_.mark_use(destination, raw(stream));
}

std::size_t CudaMemory::available() const {
  make_current();
  std::size_t free_bytes = 0, total_bytes = 0;
  check(cudaMemGetInfo(&free_bytes, &total_bytes), "asking for the GPU's memory");
  return free_bytes;
}

void CudaMemory::fill_zero(void* destination, std::size_t bytes, Stream& stream) {
  if (bytes == 0) return;
  make_current();
  check(cudaMemsetAsync(destination, 0, bytes, raw(stream)), "filling GPU memory");
}

}  // namespace gsplit::cuda
