// Between the host's memory and a device's: the only place where it matters whether they are the
// same. Whoever hands host data to an op, or reads what an op has left, goes through here.
#pragma once

#include <cstddef>
#include <span>
#include <type_traits>
#include <vector>

#include "kernels/matrix.h"
#include "kernels/memory.h"

namespace gsplit {

/// A host array as ops read it: the array itself where the host's memory is the device's, else a
/// copy. The array must outlive this object; it must not change before the stream has passed.
template <class T>
class DeviceArray {
 public:
  DeviceArray() = default;
  DeviceArray(std::span<const T> host, Memory& memory, Stream& stream) : values_(host) {
    static_assert(std::is_trivially_copyable_v<T>);
    if (memory.host_accessible()) return;
    copy_ = Buffer<T>(memory, host.size());
    memory.copy(copy_.data(), host.data(), host.size_bytes(), stream);
    values_ = copy_.span();
  }
  DeviceArray(const std::vector<T>& host, Memory& memory, Stream& stream)
      : DeviceArray(std::span<const T>(host), memory, stream) {}

  std::span<const T> span() const { return values_; }

 private:
  Buffer<T> copy_;
  std::span<const T> values_;
};

/// Values of the device for the host, once the stream has passed.
template <class T>
std::vector<T> read_back(std::span<const T> values, Memory& memory, Stream& stream) {
  std::vector<T> host(values.size());
  memory.copy(host.data(), values.data(), values.size_bytes(), stream);
  stream.synchronize();
  return host;
}

/// The elements of a matrix whose rows lie without gaps, once the stream has passed.
inline std::vector<std::byte> download(ConstMatrixView matrix, Memory& memory, Stream& stream) {
  GSPLIT_CHECK(matrix.rows <= 1 || matrix.stride == matrix.cols);
  std::vector<std::byte> host(static_cast<std::size_t>(matrix.rows * matrix.cols) *
                              size_of(matrix.dtype));
  memory.copy(host.data(), matrix.data, host.size(), stream);
  stream.synchronize();
  return host;
}

/// The reverse: fills a matrix whose rows lie without gaps. `host` may be reused on return.
inline void upload(std::span<const std::byte> host, MatrixView matrix, Memory& memory,
                   Stream& stream) {
  GSPLIT_CHECK(matrix.rows <= 1 || matrix.stride == matrix.cols);
  GSPLIT_CHECK(host.size() ==
               static_cast<std::size_t>(matrix.rows * matrix.cols) * size_of(matrix.dtype));
  memory.copy(matrix.data, host.data(), host.size(), stream);
  stream.synchronize();
}

}  // namespace gsplit
