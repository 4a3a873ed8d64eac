// Files for the tests of importers: plain, gzip, zstd, and damaged ones.
#pragma once

#include <zlib.h>
#include <zstd.h>

#include <filesystem>
#include <string>
#include <vector>

#include "kernels/base/error.h"
#include "tests/graph/temporary_directory.h"

namespace gsplit {

inline std::filesystem::path write_text(const std::filesystem::path& path,
                                        const std::string& text) {
  write_file(path, text);
  return path;
}

inline std::string gzip(const std::string& text) {
  z_stream stream{};
  GSPLIT_CHECK(deflateInit2(&stream, 6, Z_DEFLATED, 15 + 16, 8, Z_DEFAULT_STRATEGY) == Z_OK);
  std::string packed(deflateBound(&stream, text.size()), '\0');
  stream.next_in = reinterpret_cast<Bytef*>(const_cast<char*>(text.data()));
  stream.avail_in = static_cast<uInt>(text.size());
  stream.next_out = reinterpret_cast<Bytef*>(packed.data());
  stream.avail_out = static_cast<uInt>(packed.size());
  GSPLIT_CHECK(deflate(&stream, Z_FINISH) == Z_STREAM_END);
  packed.resize(stream.total_out);
  deflateEnd(&stream);
  return packed;
}

inline std::string zstd(const std::string& text) {
  std::string packed(ZSTD_compressBound(text.size()), '\0');
  packed.resize(ZSTD_compress(packed.data(), packed.size(), text.data(), text.size(), 3));
  return packed;
}

/// The message of the UsageError that f() throws.
template <class F>
std::string usage_error_of(F&& f) {
  try {
    f();
  } catch (const UsageError& error) {
    return error.what();
  }
  return "accepted";
}

}  // namespace gsplit
