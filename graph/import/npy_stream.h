// A .npy file of one or two dimensions whose first dimension is known only after it has been
// written.
#pragma once

#include "graph/import/output_file.h"
#include "graph/npy.h"

namespace gsplit {

class NpyStream {
 public:
  explicit NpyStream(const std::filesystem::path& path);
  template <class T>
  void append(std::span<const T> values) {
    file_.append(values);
  }
  void append_file(const OutputFile& other) { file_.append_file(other); }
  /// Bytes of data so far.
  std::uint64_t size() const;
  /// Ends the file. REQUIRES: the data are those of `type` and `shape`.
  void finish(NpyType type, const std::vector<std::uint64_t>& shape);
  OutputFile& file() { return file_; }

  /// Where the data begin: a header of up to two dimensions always fits.
  static constexpr std::size_t kDataBegin = 128;

 private:
  OutputFile file_;
};

}  // namespace gsplit
