#include "tests/fuzz/fuzz.h"

using namespace gsplit;

int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const auto file = fuzz::write_input("array.npy", fuzz::text_of(data, size));
  fuzz::accept_or_refuse([&] { fuzz::touch(NpyArray::open(file)); });
  return 0;
}
