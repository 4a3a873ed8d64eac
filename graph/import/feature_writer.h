// Features of an import, rounded to the type that they are to have.
#pragma once

#include <cstdint>
#include <filesystem>
#include <span>
#include <vector>

#include "graph/import/npy_stream.h"
#include "kernels/base/dtype.h"

namespace gsplit {

class FeatureWriter {
 public:
  /// Writes to `npy`; `input` is what messages name. `dtype`: fp32, fp16 or bf16.
  FeatureWriter(const std::filesystem::path& npy, std::filesystem::path input, DType dtype);
  /// The next values, of rows of `width`. Throws UsageError naming node and column of one that is
  /// not finite or that `dtype` is too narrow for.
  void append(std::span<const float> values, std::uint64_t width);
  /// Ends the file. REQUIRES: rows x width values have been appended.
  void finish(std::uint64_t rows, std::uint64_t width);

 private:
  [[noreturn]] void refuse(float value, std::uint64_t position, std::uint64_t width) const;

  NpyStream out_;
  std::filesystem::path input_;
  DType dtype_;
  std::vector<std::byte> narrow_;
};

}  // namespace gsplit
