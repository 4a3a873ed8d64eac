#include "graph/features.h"

#include <algorithm>
#include <type_traits>

#include "graph/parallel_scan.h"

namespace gsplit {
namespace {

void store(float value, float& to) { to = value; }
void store(float value, Half& to) { to = to_half(value); }
void store(float value, BFloat16& to) { to = to_bfloat16(value); }

}  // namespace

std::optional<DType> feature_dtype(NpyType type) {
  for (const DType dtype : {DType::kF32, DType::kF16, DType::kBF16}) {
    if (type == npy_type(dtype)) return dtype;
  }
  return std::nullopt;
}

DType feature_dtype_from_name(const std::string& name) {
  for (const DType dtype : {DType::kF32, DType::kF16, DType::kBF16}) {
    if (name == name_of(dtype)) return dtype;
  }
  throw UsageError("--feature-dtype " + name + " is not known", "available: fp32, fp16, bf16");
}

NpyType npy_type(DType dtype) {
  switch (dtype) {
    case DType::kF16:
      return npy_type_of<Half>::value;
    case DType::kBF16:
      return npy_type_of<BFloat16>::value;
    case DType::kF32:
      return npy_type_of<float>::value;
    case DType::kF64:
      return npy_type_of<double>::value;
  }
  return {};
}

void check_finite(const NpyArray& features, int threads) {
  visit_features(features, [&](auto values) {
    const auto position =
        first_where(values, threads, [](auto value) { return !is_finite(value); });
    if (position) refuse_not_finite(features.path(), *position, features.shape()[1]);
  });
}

void refuse_not_finite(const std::filesystem::path& file, std::uint64_t position,
                       std::uint64_t width) {
  throw UsageError(file.string() + " is not finite at node " + std::to_string(position / width) +
                       ", column " + std::to_string(position % width),
                   "replace NaN and infinities");
}

std::optional<std::size_t> narrow(std::span<const float> values, DType dtype,
                                  std::span<std::byte> out) {
  GSPLIT_CHECK(out.size() == values.size() * size_of(dtype));
  std::optional<std::size_t> overflow;
  dispatch_storage(dtype, [&](auto zero) {
    using T = decltype(zero);
    if constexpr (!std::is_same_v<T, double>) {
      T* const to = reinterpret_cast<T*>(out.data());
      for (std::size_t i = 0; i < values.size(); ++i) {
        store(values[i], to[i]);
        if (!overflow && is_finite(values[i]) && !is_finite(to[i])) overflow = i;
      }
    }
  });
  return overflow;
}

}  // namespace gsplit
