// Node features as files hold them, (nodes, width) of fp32, fp16 or bf16: what datasets, shards,
// generators and importers share.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>

#include "graph/npy.h"
#include "kernels/base/dtype.h"

namespace gsplit {

/// What features of a file's type are; nothing where they cannot be of that type.
std::optional<DType> feature_dtype(NpyType type);
/// Of "fp32", "fp16" or "bf16"; UsageError naming --feature-dtype for anything else.
DType feature_dtype_from_name(const std::string& name);
/// The inverse of feature_dtype.
NpyType npy_type(DType dtype);

/// Calls f(span<const T>) with T = Half, BFloat16 or float. REQUIRES: feature_dtype(its type).
template <class F>
void visit_features(const NpyArray& features, F&& f) {
  dispatch_storage(*feature_dtype(features.type()), [&](auto zero) {
    using T = decltype(zero);
    if constexpr (!std::is_same_v<T, double>) f(features.as<T>());
  });
}

/// Throws UsageError naming node and column of the first value that is infinite or NaN. REQUIRES:
/// as visit_features, and two dimensions.
void check_finite(const NpyArray& features, int threads);
[[noreturn]] void refuse_not_finite(const std::filesystem::path& file, std::uint64_t position,
                                    std::uint64_t width);

/// Writes `values` to `out`, rounded to the nearest number of `dtype` (fp32, fp16 or bf16). Returns
/// the position of the first value that is finite and would become infinite, where there is one.
/// REQUIRES: out.size() == values.size() * size_of(dtype), aligned.
std::optional<std::size_t> narrow(std::span<const float> values, DType dtype,
                                  std::span<std::byte> out);

}  // namespace gsplit
