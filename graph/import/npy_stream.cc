#include "graph/import/npy_stream.h"

#include <string>

namespace gsplit {

NpyStream::NpyStream(const std::filesystem::path& path) : file_(path) {
  const std::string reserved(kDataBegin, '\0');
  file_.append(std::span<const char>(reserved));
}

std::uint64_t NpyStream::size() const { return file_.size() - kDataBegin; }

void NpyStream::finish(NpyType type, const std::vector<std::uint64_t>& shape) {
  std::uint64_t bytes = type.bytes;
  for (const std::uint64_t dimension : shape) bytes *= dimension;
  GSPLIT_CHECK(bytes == size());
  std::string header = npy_header(type, shape);
  // A shorter one is lengthened by blanks before its line break, as the format allows.
  GSPLIT_CHECK(header.size() <= kDataBegin);
  header.insert(header.size() - 1, kDataBegin - header.size(), ' ');
  header[8] = static_cast<char>(kDataBegin - 10);
  file_.flush();
  file_.overwrite_start(std::as_bytes(std::span(header)));
}

}  // namespace gsplit
