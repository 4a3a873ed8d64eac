// NumPy's .npy files, format 1.0-3.0: C order, little endian, types f2 f4 f8 i1..i8 u1..u8 b1, and
// bf16, which NumPy, having no such type, stores as V2 (two bytes of no meaning to it). Object
// arrays, Fortran order, big endian and files whose size does not fit their header are refused with
// a UsageError that names the file.
#pragma once

#include <algorithm>
#include <cstdint>
#include <filesystem>
#include <span>
#include <string>
#include <vector>

#include "graph/mapped_file.h"
#include "kernels/base/dtype.h"
#include "kernels/base/error.h"

namespace gsplit {

/// Element type of a file, as NumPy spells it without the byte order: kind 'f', 'i', 'u', 'b' or
/// 'V' and bytes.
struct NpyType {
  char kind = 'f';
  std::size_t bytes = 4;
  bool operator==(const NpyType&) const = default;
  std::string name() const;  ///< "f4", "i8", ... and "bf16" for V2
};

template <class T>
struct npy_type_of;  // specialised in this header for the C++ types that files may hold
template <>
struct npy_type_of<Half> {
  static constexpr NpyType value{'f', 2};
};
template <>
struct npy_type_of<BFloat16> {
  static constexpr NpyType value{'V', 2};
};
template <>
struct npy_type_of<float> {
  static constexpr NpyType value{'f', 4};
};
template <>
struct npy_type_of<double> {
  static constexpr NpyType value{'f', 8};
};
template <>
struct npy_type_of<std::int8_t> {
  static constexpr NpyType value{'i', 1};
};
template <>
struct npy_type_of<std::int16_t> {
  static constexpr NpyType value{'i', 2};
};
template <>
struct npy_type_of<std::int32_t> {
  static constexpr NpyType value{'i', 4};
};
template <>
struct npy_type_of<std::int64_t> {
  static constexpr NpyType value{'i', 8};
};
template <>
struct npy_type_of<std::uint8_t> {
  static constexpr NpyType value{'u', 1};
};
template <>
struct npy_type_of<std::uint16_t> {
  static constexpr NpyType value{'u', 2};
};
template <>
struct npy_type_of<std::uint32_t> {
  static constexpr NpyType value{'u', 4};
};
template <>
struct npy_type_of<std::uint64_t> {
  static constexpr NpyType value{'u', 8};
};

/// A mapped, read-only array.
class NpyArray {
 public:
  NpyArray() = default;
  /// Throws UsageError naming the file and what is wrong with it.
  static NpyArray open(const std::filesystem::path& path) { return open(path, path); }
  /// The same, for a file that stands for another: `shown_as` is what messages and path() name.
  static NpyArray open(const std::filesystem::path& path, const std::filesystem::path& shown_as);

  const std::filesystem::path& path() const { return path_; }
  NpyType type() const { return type_; }
  const std::vector<std::uint64_t>& shape() const { return shape_; }
  std::uint64_t num_elements() const;
  std::span<const std::byte> bytes() const { return data_; }

  /// The elements, which must be of type T: else a UsageError that names file, found and expected
  /// type.
  template <class T>
  std::span<const T> as() const {
    require_type(npy_type_of<T>::value);
    return {reinterpret_cast<const T*>(data_.data()), num_elements()};
  }
  /// Calls f(span<const T>) for the integer type of the file; UsageError for any other.
  template <class F>
  void visit_integers(F&& f) const {
    if (type_.kind == 'i') {
      switch (type_.bytes) {
        case 1:
          return f(as<std::int8_t>());
        case 2:
          return f(as<std::int16_t>());
        case 4:
          return f(as<std::int32_t>());
        default:
          return f(as<std::int64_t>());
      }
    }
    require_kind('u', "an integer array");
    switch (type_.bytes) {
      case 1:
        return f(as<std::uint8_t>());
      case 2:
        return f(as<std::uint16_t>());
      case 4:
        return f(as<std::uint32_t>());
      default:
        return f(as<std::uint64_t>());
    }
  }

 private:
  void require_type(NpyType expected) const;
  void require_kind(char kind, const char* what) const;

  std::filesystem::path path_;
  MappedFile file_;
  NpyType type_;
  std::vector<std::uint64_t> shape_;
  std::span<const std::byte> data_;
};

/// What stands before the data in a file of this type and shape: magic, version 1.0, length,
/// header, padded to a multiple of 64 bytes.
std::string npy_header(NpyType type, const std::vector<std::uint64_t>& shape);

/// A new array, mapped for writing in place; fill bytes(), then close(), which flushes it. The data
/// starts at a multiple of 64 bytes.
class NpyWriter {
 public:
  NpyWriter(const std::filesystem::path& path, NpyType type, std::vector<std::uint64_t> shape);
  std::span<std::byte> bytes() { return data_; }
  template <class T>
  std::span<T> as() {
    GSPLIT_CHECK(type_ == npy_type_of<T>::value);
    return {reinterpret_cast<T*>(data_.data()), data_.size() / sizeof(T)};
  }
  void close();

 private:
  NpyType type_;
  MappedFile file_;
  std::span<std::byte> data_;
};

/// Writes a whole array at once.
template <class T>
void write_npy(const std::filesystem::path& path, std::span<const T> values,
               std::vector<std::uint64_t> shape) {
  NpyWriter writer(path, npy_type_of<T>::value, std::move(shape));
  std::span<T> out = writer.as<T>();
  GSPLIT_CHECK(out.size() == values.size());
  std::copy(values.begin(), values.end(), out.begin());
  writer.close();
}

}  // namespace gsplit
