#include "runtime/train/layer_memory.h"

#include <sys/mman.h>
#include <unistd.h>

#include <atomic>
#include <string>
#include <utility>

#include "kernels/base/available_memory.h"
#include "partition/prepare.h"
#include "runtime/train/resources.h"

namespace gsplit {
namespace {

/// Of the available memory, for one layer of all workers of the host: a second one, the features
/// and the page cache want some too.
constexpr double kShare = 2.0 / 3;

/// Another one for each file of each process of each host that shares the folder.
std::string fresh_name() {
  static std::atomic<unsigned> count{0};
  return ".layer-" + host_name() + "-" + std::to_string(::getpid()) + "-" + std::to_string(count++);
}

void* from_system(std::size_t bytes) {
  void* const block =
      ::mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (block == MAP_FAILED) {
    throw SystemError("out of host memory: " + std::to_string(bytes) + " bytes were refused",
                      "give --eval-fanout, which holds no layer as a whole, or more hosts");
  }
  ::madvise(block, bytes, MADV_HUGEPAGE);
  return block;
}

}  // namespace

bool LayerMemory::fits(std::size_t bytes) const {
  const std::uint64_t there = options_.available > 0 ? options_.available : available_memory();
  return static_cast<double>(bytes) * options_.local_workers <= kShare * static_cast<double>(there);
}

void* LayerMemory::allocate(std::size_t bytes) {
  if (bytes == 0 || !host_accessible()) return base_.allocate(bytes);
  return fits(bytes) ? from_system(bytes) : from_file(bytes);
}

void* LayerMemory::from_file(std::size_t bytes) {
  const std::filesystem::path path = cache_directory() / fresh_name();
  try {
    MappedFile file = MappedFile::create(path, bytes);
    ::unlink(path.c_str());
    void* const data = file.writable_bytes().data();
    files_.emplace(data, std::move(file));
    return data;
  } catch (const SystemError& error) {
    throw SystemError(
        "one layer of the evaluation does not fit the memory, and its file not the disk: " +
            std::string(error.what()),
        "or let GSPLIT_CACHE name a folder of a larger disk, or give --eval-fanout");
  }
}

void LayerMemory::release(void* data, std::size_t bytes) noexcept {
  if (!host_accessible()) return base_.release(data, bytes);
  if (files_.erase(data) == 0) ::munmap(data, bytes);
}

}  // namespace gsplit
