#include "graph/import/feature_writer.h"

#include <fmt/format.h>

#include <algorithm>
#include <utility>

#include "graph/features.h"

namespace gsplit {

FeatureWriter::FeatureWriter(const std::filesystem::path& npy, std::filesystem::path input,
                             DType dtype)
    : out_(npy), input_(std::move(input)), dtype_(dtype) {}

void FeatureWriter::append(std::span<const float> values, std::uint64_t width) {
  const std::uint64_t before = out_.size() / size_of(dtype_);
  const auto bad =
      std::find_if(values.begin(), values.end(), [](float v) { return !is_finite(v); });
  if (bad != values.end()) {
    refuse_not_finite(input_, before + static_cast<std::uint64_t>(bad - values.begin()), width);
  }
  narrow_.resize(values.size() * size_of(dtype_));
  if (const auto overflow = narrow(values, dtype_, narrow_)) {
    refuse(values[*overflow], before + *overflow, width);
  }
  out_.append(std::span<const std::byte>(narrow_));
}

void FeatureWriter::refuse(float value, std::uint64_t position, std::uint64_t width) const {
  throw UsageError(
      fmt::format("{} holds {} at node {}, column {}, which {} cannot hold", input_.string(), value,
                  position / width, position % width, name_of(dtype_)),
      dtype_ == DType::kF16 ? "give --feature-dtype bf16 or fp32" : "give --feature-dtype fp32");
}

void FeatureWriter::finish(std::uint64_t rows, std::uint64_t width) {
  out_.finish(npy_type(dtype_), {rows, width});
}

}  // namespace gsplit
