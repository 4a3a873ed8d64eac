// events.jsonl of a run that --resume goes on with. The input's first byte is the step of its
// checkpoint.
#include "runtime/train/run_directory.h"
#include "tests/fuzz/fuzz.h"

using namespace gsplit;

int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  if (size == 0) return 0;
  const std::filesystem::path run = fuzz::scratch();
  std::filesystem::create_directory(run / "checkpoints");
  fuzz::write_input("events.jsonl", fuzz::text_of(data + 1, size - 1));
  fuzz::accept_or_refuse([&] {
    RunDirectory directory(run);
    directory.lock();
    directory.continue_after(data[0]);
  });
  std::filesystem::remove(run / "events.1.jsonl");
  return 0;
}
