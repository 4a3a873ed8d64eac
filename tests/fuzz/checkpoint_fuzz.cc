// A checkpoint: manifest.json and model.safetensors in one input. The checksums, which no fuzzer
// would guess, are put right first; whoever wants to harm can do that too.
#include <algorithm>
#include <nlohmann/json.hpp>

#include "graph/sha256.h"
#include "runtime/train/checkpoint.h"
#include "runtime/train/config.h"
#include "tests/fuzz/fuzz.h"

using namespace gsplit;

namespace {

using Json = nlohmann::ordered_json;

constexpr const char* kModel = "model.safetensors";
constexpr std::ptrdiff_t kDeepest = 1000;  // dump() is recursive: deeper ones go as they are

std::string hash_of(const std::string& text) { return sha256_hex(std::as_bytes(std::span(text))); }

std::string with_checksums(const std::string& manifest, const std::string& model) {
  const auto opens = [](char c) { return c == '[' || c == '{'; };
  if (std::count_if(manifest.begin(), manifest.end(), opens) > kDeepest) return manifest;
  Json json = Json::parse(manifest, nullptr, false);
  if (!json.is_object()) return manifest;
  if (json.contains("files") && json["files"].is_object() && json["files"].contains(kModel)) {
    json["files"][kModel] = {{"bytes", model.size()}, {"sha256", hash_of(model)}};
  }
  json.erase("checksum");
  json["checksum"] = hash_of(json.dump());
  return json.dump();
}

}  // namespace

int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  auto files = fuzz::split_files(fuzz::text_of(data, size));
  fuzz::write_input("manifest.json", with_checksums(files["manifest.json"], files[kModel]));
  fuzz::write_input(kModel, files[kModel]);
  fuzz::accept_or_refuse([&] {
    const Checkpoint checkpoint = Checkpoint::open(fuzz::scratch());
    if (checkpoint.has(kModel)) checkpoint.tensors(kModel);
    from_yaml(checkpoint.manifest().config, "manifest.json");
  });
  return 0;
}
