#include "graph/small_file.h"

#include "graph/mapped_file.h"
#include "kernels/base/error.h"

namespace gsplit {

std::string read_small_file(const std::filesystem::path& file, std::size_t most) {
  const MappedFile mapped = MappedFile::open(file);
  const auto bytes = mapped.bytes();
  if (bytes.size() > most) {
    throw UsageError(file.string() + " has " + std::to_string(bytes.size()) + " bytes, at most " +
                         std::to_string(most) + " are read",
                     "name the right file");
  }
  return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}

}  // namespace gsplit
