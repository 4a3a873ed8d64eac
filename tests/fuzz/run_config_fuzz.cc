// A file of --config, and the config.yaml that stands in a checkpoint.
#include "runtime/cli/yaml_config.h"
#include "runtime/train/config.h"
#include "tests/fuzz/fuzz.h"

using namespace gsplit;

int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string_view text = fuzz::text_of(data, size);
  const auto file = fuzz::write_input("config.yaml", text);
  fuzz::accept_or_refuse([&] {
    for (const std::string& flag : expand_config({"train", "--config", file.string()})) {
      GSPLIT_CHECK(flag == "train" || flag.starts_with("--"));
    }
  });
  fuzz::accept_or_refuse([&] {
    const TrainConfig config = from_yaml(std::string(text), "config.yaml");
    to_yaml(config);
  });
  return 0;
}
