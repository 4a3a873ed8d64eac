// gzip, zstd and plain bytes.
#include "graph/import/byte_source.h"
#include "tests/fuzz/fuzz.h"

using namespace gsplit;

int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  // A few KiB may decompress to gigabytes, which a consumer need not take: here it stops early.
  constexpr std::size_t kEnough = std::size_t{4} << 20;
  const auto file = fuzz::write_input("stored", fuzz::text_of(data, size));
  fuzz::accept_or_refuse([&] {
    ByteSource source(file);
    std::size_t read = 0;
    for (auto bytes = source.next(); !bytes.empty() && read < kEnough; bytes = source.next()) {
      fuzz::touch(bytes);
      read += bytes.size();
      GSPLIT_CHECK(source.progress() >= 0 && source.progress() <= 1);
    }
  });
  return 0;
}
