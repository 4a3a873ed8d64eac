// Host memory for mini-batches: blocks are kept by size class and handed out again, also for a
// smaller class, since every step asks for about the same sizes and returning them to the system
// would cost page faults on each. What lies idle is bounded by what was once in use: an evaluation
// asks for many sizes once.
#include <sys/mman.h>

#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <iterator>
#include <map>
#include <string>
#include <unordered_map>
#include <vector>

#include "kernels/base/available_memory.h"
#include "kernels/base/size_class.h"
#include "kernels/cpu/ops.h"

namespace gsplit::cpu {
namespace {

constexpr std::size_t kAlignment = 64;
constexpr std::size_t kMostWaste = 2;  // a block may exceed what is asked for by one part of this
constexpr std::size_t kHugePage = std::size_t{2} << 20;

class HostStream final : public Stream {
 public:
  void synchronize() override {}
  void record(Event&) override {}
  void wait(const Event&) override {}
};

class HostMemory final : public Memory {
 public:
  ~HostMemory() override { give_back(0); }

  void* allocate(std::size_t bytes) override {
    if (bytes == 0) return nullptr;
    const std::size_t rounded = size_class(bytes);
    const auto fit = free_.lower_bound(rounded);
    if (fit != free_.end() && fit->first <= rounded + rounded / kMostWaste) return take(fit);
    give_back(peak_in_use_);
    return lend(from_system(rounded), rounded);
  }

  void release(void* data, std::size_t) noexcept override {
    const auto lent = lent_.find(data);
    const std::size_t bytes = lent->second;
    lent_.erase(lent);
    free_[bytes].push_back(data);
    in_use_ -= bytes;
    idle_ += bytes;
  }

  std::unique_ptr<Stream> create_stream() override { return std::make_unique<HostStream>(); }
  std::unique_ptr<Event> create_event() override { return std::make_unique<Event>(); }

  void copy(void* destination, const void* source, std::size_t bytes, Stream&) override {
    if (bytes > 0) std::memcpy(destination, source, bytes);
  }

  void fill_zero(void* destination, std::size_t bytes, Stream&) override {
    if (bytes > 0) std::memset(destination, 0, bytes);
  }

  std::size_t available() const override { return available_memory(); }
  bool host_accessible() const override { return true; }

 private:
  using FreeBlocks = std::map<std::size_t, std::vector<void*>>;

  /// The last block of a list that is not empty, the smallest ones that fit.
  void* take(FreeBlocks::iterator fit) {
    const std::size_t bytes = fit->first;
    void* const block = fit->second.back();
    fit->second.pop_back();
    if (fit->second.empty()) free_.erase(fit);
    idle_ -= bytes;
    return lend(block, bytes);
  }

  void* lend(void* block, std::size_t bytes) {
    lent_[block] = bytes;
    in_use_ += bytes;
    peak_in_use_ = std::max(peak_in_use_, in_use_);
    return block;
  }

  /// Idle blocks to the system, the largest first, until no more than `kept` bytes lie idle.
  void give_back(std::size_t kept) {
    while (idle_ > kept) {
      const auto largest = std::prev(free_.end());
      std::free(largest->second.back());
      idle_ -= largest->first;
      largest->second.pop_back();
      if (largest->second.empty()) free_.erase(largest);
    }
  }

  static void* from_system(std::size_t bytes) {
    const bool huge = bytes >= kHugePage;
    void* block =
        std::aligned_alloc(huge ? kHugePage : kAlignment,
                           huge ? (bytes + kHugePage - 1) / kHugePage * kHugePage : bytes);
    if (block == nullptr) {
      throw SystemError("out of host memory: " + std::to_string(bytes) + " bytes were refused",
                        "use a smaller --batch-size, --fanout or --hidden, or more workers");
    }
    if (huge) madvise(block, bytes, MADV_HUGEPAGE);
    return block;
  }

  FreeBlocks free_;                              // idle ones by size; no list is empty
  std::unordered_map<void*, std::size_t> lent_;  // sizes of those in use
  std::size_t in_use_ = 0;
  std::size_t peak_in_use_ = 0;
  std::size_t idle_ = 0;
};

}  // namespace

std::unique_ptr<Memory> make_memory() { return std::make_unique<HostMemory>(); }

}  // namespace gsplit::cpu
