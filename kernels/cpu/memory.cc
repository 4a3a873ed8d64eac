// Host memory for mini-batches: blocks are kept by size class and handed out again, since every
// step asks for about the same sizes and returning them to the system would cost page faults on
// each. What lies idle is bounded by what was once in use: an evaluation asks for many sizes once.
#include <sys/mman.h>

#include <cstdlib>
#include <cstring>
#include <string>
#include <unordered_map>
#include <vector>

#include "kernels/base/size_class.h"
#include "kernels/cpu/ops.h"

namespace gsplit::cpu {
namespace {

constexpr std::size_t kAlignment = 64;
constexpr std::size_t kHugePage = std::size_t{2} << 20;

class HostStream final : public Stream {
 public:
  void synchronize() override {}
  void record(Event&) override {}
  void wait(const Event&) override {}
};

class HostMemory final : public Memory {
 public:
  ~HostMemory() override { give_back(); }

  void* allocate(std::size_t bytes) override {
    if (bytes == 0) return nullptr;
    const std::size_t rounded = size_class(bytes);
    std::vector<void*>& blocks = free_[rounded];
    in_use_ += rounded;
    peak_in_use_ = std::max(peak_in_use_, in_use_);
    if (!blocks.empty()) {
      void* block = blocks.back();
      blocks.pop_back();
      idle_ -= rounded;
      return block;
    }
    if (idle_ > peak_in_use_) give_back();
    return from_system(rounded);
  }

  void release(void* data, std::size_t bytes) noexcept override {
    const std::size_t rounded = size_class(bytes);
    free_[rounded].push_back(data);
    in_use_ -= rounded;
    idle_ += rounded;
  }

  std::unique_ptr<Stream> create_stream() override { return std::make_unique<HostStream>(); }
  std::unique_ptr<Event> create_event() override { return std::make_unique<Event>(); }

  void copy(void* destination, const void* source, std::size_t bytes, Stream&) override {
    if (bytes > 0) std::memcpy(destination, source, bytes);
  }

  void fill_zero(void* destination, std::size_t bytes, Stream&) override {
    if (bytes > 0) std::memset(destination, 0, bytes);
  }

  bool host_accessible() const override { return true; }

 private:
  /// All idle blocks to the system.
  void give_back() {
    for (auto& [bytes, blocks] : free_) {
      for (void* block : blocks) std::free(block);
      blocks.clear();
    }
    idle_ = 0;
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

  std::unordered_map<std::size_t, std::vector<void*>> free_;
  std::size_t in_use_ = 0;
  std::size_t peak_in_use_ = 0;
  std::size_t idle_ = 0;
};

}  // namespace

std::unique_ptr<Memory> make_memory() { return std::make_unique<HostMemory>(); }

}  // namespace gsplit::cpu
