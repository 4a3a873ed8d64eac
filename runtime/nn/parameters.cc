#include "runtime/nn/parameters.h"

#include <utility>

#include "kernels/base/philox.h"
#include "kernels/transfer.h"

namespace gsplit {
namespace {

constexpr std::int64_t kPadding =
    16;  // elements, so that every tensor starts at a multiple of 64 bytes

template <class T>
void draw_uniform(const Parameter& parameter, std::uint32_t number, std::uint64_t seed, T* out) {
  const DrawKey key{.seed = seed, .step = 0, .purpose = Purpose::kInit, .layer = number};
  for (std::int64_t e = 0; e < parameter.size(); ++e) {
    const PhiloxBlock block = draw(key, static_cast<std::uint64_t>(e / 4), 0);
    out[e] = static_cast<T>(parameter.init_center +
                            parameter.init_bound * (2 * unit_interval(block.word[e % 4]) - 1));
  }
}

}  // namespace

ParameterId ParameterSet::add(std::string name, std::vector<std::int64_t> shape, double init_bound,
                              double init_center) {
  GSPLIT_CHECK(values_.rows() == 0);
  list_.push_back({std::move(name), std::move(shape), padded_size_, init_bound, init_center});
  padded_size_ += (list_.back().size() + kPadding - 1) / kPadding * kPadding;
  return {list_.size() - 1};
}

void ParameterSet::allocate(Backend& backend, DType rows, std::uint64_t seed, Stream& stream) {
  const DType dtype = compute_dtype(rows);
  backend_ = &backend;
  stream_ = &stream;
  const auto bytes = static_cast<std::size_t>(padded_size_) * size_of(dtype);
  std::vector<std::byte> initial(bytes);
  dispatch_compute(dtype, [&](auto type) {
    using T = decltype(type);
    for (std::size_t i = 0; i < list_.size(); ++i) {
      draw_uniform(list_[i], static_cast<std::uint32_t>(i), seed,
                   reinterpret_cast<T*>(initial.data()) + list_[i].offset);
    }
  });
  values_ = Matrix(backend.memory(), dtype, 1, padded_size_);
  gradients_ = Matrix(backend.memory(), dtype, 1, padded_size_);
  if (rows == DType::kBF16) rounded_ = Matrix(backend.memory(), rows, 1, padded_size_);
  backend.memory().fill_zero(gradients_.data(), bytes, stream);
  write(initial, values_.view());
}

ConstMatrixView ParameterSet::operand(ParameterId id, DType rows) {
  return part_of(rows == DType::kBF16 ? rounded_.view() : values_.view(), id);
}

void ParameterSet::round_operands() {
  backend_->sparse().convert_rows({values_.view(), rounded_.view()}, *stream_);
}

std::vector<std::byte> ParameterSet::read(ConstMatrixView flat) const {
  return download(flat, backend_->memory(), *stream_);
}

void ParameterSet::write(std::span<const std::byte> host, MatrixView flat) const {
  upload(host, flat, backend_->memory(), *stream_);
}

std::int64_t ParameterSet::num_elements() const {
  std::int64_t elements = 0;
  for (const Parameter& parameter : list_) elements += parameter.size();
  return elements;
}

MatrixView ParameterSet::part_of(MatrixView flat, ParameterId id) const {
  const Parameter& parameter = list_[id.index];
  auto* const data = static_cast<std::byte*>(flat.data) +
                     parameter.offset * static_cast<std::int64_t>(size_of(flat.dtype));
  return {data, flat.dtype, parameter.rows(), parameter.cols(), parameter.cols()};
}

}  // namespace gsplit
