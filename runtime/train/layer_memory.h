// Memory for the hidden rows of all nodes, which full-neighbour inference holds between two layers:
// the largest matrices of a run by far.
//
// On the host each is taken from the system and given back to it, since no step after it asks for
// such a size again. Where it would take too much of the memory that there is, it lies in a file of
// the cache folder that has no name any more: the system writes out what does not fit, and the
// space is free again with the matrix, however the process ends. Device memory is left as it is.
#pragma once

#include <cstdint>
#include <map>

#include "graph/mapped_file.h"
#include "kernels/memory.h"

namespace gsplit {

struct LayerMemoryOptions {
  int local_workers = 1;  ///< that share this host's memory, each asking for about as much
  /// Bytes there are; 0: available_memory() at each request.
  std::uint64_t available = 0;
};

class LayerMemory final : public Memory {
 public:
  /// `base` must outlive it.
  LayerMemory(Memory& base, const LayerMemoryOptions& options) : base_(base), options_(options) {}

  /// Throws SystemError where neither memory nor disk is left.
  void* allocate(std::size_t bytes) override;
  void release(void* data, std::size_t bytes) noexcept override;
  std::unique_ptr<Stream> create_stream() override { return base_.create_stream(); }
  std::unique_ptr<Event> create_event() override { return base_.create_event(); }
  void copy(void* destination, const void* source, std::size_t bytes, Stream& stream) override {
    base_.copy(destination, source, bytes, stream);
  }
  void fill_zero(void* destination, std::size_t bytes, Stream& stream) override {
    base_.fill_zero(destination, bytes, stream);
  }
  std::size_t available() const override { return base_.available(); }
  bool host_accessible() const override { return base_.host_accessible(); }

  /// How many of its blocks lie in files now.
  std::size_t num_files() const { return files_.size(); }

 private:
  bool fits(std::size_t bytes) const;
  void* from_file(std::size_t bytes);

  Memory& base_;
  LayerMemoryOptions options_;
  std::map<void*, MappedFile> files_;
};

}  // namespace gsplit
