// safetensors files: u64 little-endian header length, a JSON header {name: {dtype, shape,
// data_offsets}}, raw data. The format that PyTorch Geometric's `load_state_dict` takes our weights
// from.
#pragma once

#include <cstdint>
#include <filesystem>
#include <map>
#include <string>
#include <vector>

#include "graph/mapped_file.h"

namespace gsplit {

/// One tensor of a file. `dtype` as the format spells it: "F32", "F64", "I64", ...
struct Tensor {
  std::string dtype;
  std::vector<std::int64_t> shape;
  std::span<const std::byte> data;
};

/// A mapped file. Immutable; tensors live as long as it does.
class SafetensorsFile {
 public:
  /// Throws UsageError naming the file and the fault: truncated, overlapping or out-of-range
  /// offsets, holes between tensors, sizes that do not fit the shape, a header that is no JSON
  /// object or longer than 100 MB.
  static SafetensorsFile open(const std::filesystem::path& path);
  const std::map<std::string, Tensor>& tensors() const { return tensors_; }
  /// UsageError when the file has no such tensor.
  const Tensor& at(const std::string& name) const;
  const std::filesystem::path& path() const { return path_; }

 private:
  std::filesystem::path path_;
  MappedFile file_;
  std::map<std::string, Tensor> tensors_;
};

/// Writes the file and flushes it to the disk. Throws SystemError.
void write_safetensors(const std::filesystem::path& path,
                       const std::vector<std::pair<std::string, Tensor>>& tensors);

}  // namespace gsplit
