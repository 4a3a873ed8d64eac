#include "runtime/train/checkpoint.h"

#include <algorithm>
#include <charconv>
#include <system_error>
#include <utility>

#include "graph/json_input.h"
#include "graph/mapped_file.h"
#include "graph/sha256.h"
#include "graph/small_file.h"
#include "kernels/base/error.h"
#include "runtime/train/text_file.h"

namespace gsplit {
namespace {

namespace fs = std::filesystem;
using Json = nlohmann::ordered_json;

constexpr int kFormatVersion = 1;
constexpr const char* kManifest = "manifest.json";
constexpr const char* kStepPrefix = "step-";

[[noreturn]] void refuse(const fs::path& file, const std::string& fault) {
  throw UsageError(file.string() + " " + fault, "use another checkpoint");
}

void require_there(const fs::path& file) {
  std::error_code unreadable;
  if (!fs::exists(file, unreadable)) refuse(file, "is missing");
}

std::string checksum_of(const Json& manifest) {
  const std::string text = manifest.dump();
  return sha256_hex(std::as_bytes(std::span(text)));
}

/// Parses the manifest and takes its checksum out.
Json read_manifest(const fs::path& file) {
  require_there(file);
  Json json = parse_json<Json>(read_small_file(file, kMostJsonBytes));
  if (!json.is_object()) refuse(file, "is damaged: it is no JSON object");
  if (json.value("format_version", Json()) != kFormatVersion) {
    refuse(file, "has a format version that this gsplit does not read");
  }
  const Json checksum = json.value("checksum", Json());
  json.erase("checksum");
  if (checksum != checksum_of(json)) refuse(file, "is damaged: its checksum does not fit");
  return json;
}

void verify_file(const fs::path& file, const Json& expected) {
  require_there(file);
  const MappedFile mapped = MappedFile::open(file);
  if (expected.at("bytes") != mapped.bytes().size() ||
      expected.at("sha256") != sha256_hex(mapped.bytes())) {
    refuse(file, "is damaged: its checksum is not that of " + std::string(kManifest));
  }
}

std::optional<std::uint64_t> step_of(const std::string& name) {
  if (!name.starts_with(kStepPrefix)) return std::nullopt;
  const std::string digits = name.substr(std::string(kStepPrefix).size());
  std::uint64_t step = 0;
  const auto [end, error] = std::from_chars(digits.data(), digits.data() + digits.size(), step);
  if (error != std::errc{} || end != digits.data() + digits.size()) return std::nullopt;
  return step;
}

}  // namespace

void CheckpointWriter::add(const std::string& file,
                           const std::vector<std::pair<std::string, Tensor>>& tensors) {
  write_safetensors(staging_.path() / file, tensors);
  add_checksum(file);
}

void CheckpointWriter::add_copy(const std::string& file, const fs::path& existing) {
  std::error_code error;
  fs::create_hard_link(existing, staging_.path() / file, error);
  if (error) fs::copy_file(existing, staging_.path() / file, error);
  if (error) {
    throw SystemError("cannot copy " + existing.string() + ": " + error.message(),
                      "check free space and permissions");
  }
  add_checksum(file);
}

void CheckpointWriter::add_checksum(const std::string& file) {
  const MappedFile mapped = MappedFile::open(staging_.path() / file);
  checksums_[file] = {{"bytes", mapped.bytes().size()}, {"sha256", sha256_hex(mapped.bytes())}};
}

void CheckpointWriter::commit(const CheckpointManifest& manifest) {
  Json json{{"format_version", kFormatVersion},
            {"gsplit", GSPLIT_VERSION},
            {"step", manifest.step},
            {"epoch", manifest.epoch},
            {"dataset_fingerprint", manifest.dataset_fingerprint},
            {"config", manifest.config},
            {"state", manifest.state},
            {"files", checksums_}};
  json["checksum"] = checksum_of(json);
  write_text(staging_.path() / kManifest, json.dump(2) + "\n");
  staging_.commit();
}

Checkpoint Checkpoint::open(const fs::path& directory) {
  const fs::path file = directory / kManifest;
  const Json json = read_manifest(file);
  Checkpoint checkpoint;
  checkpoint.directory_ = directory;
  try {
    const auto step = whole_number<std::uint64_t>(json.at("step"));
    const auto epoch = whole_number<std::uint32_t>(json.at("epoch"));
    if (!step || !epoch) refuse(file, "is damaged: step or epoch is no number");
    checkpoint.manifest_ = {.step = *step,
                            .epoch = *epoch,
                            .config = json.at("config").get<std::string>(),
                            .dataset_fingerprint = json.at("dataset_fingerprint"),
                            .state = json.at("state")};
    if (!json.at("files").is_object()) refuse(file, "is damaged: files is no JSON object");
    for (const auto& [name, expected] : json.at("files").items()) {
      if (name != fs::path(name).filename()) refuse(file, "names a file outside");
      verify_file(directory / name, expected);
      checkpoint.files_.push_back(name);
    }
  } catch (const Json::exception& error) {
    refuse(file, std::string("is damaged: ") + error.what());
  }
  return checkpoint;
}

bool Checkpoint::has(const std::string& file) const {
  return std::find(files_.begin(), files_.end(), file) != files_.end();
}

SafetensorsFile Checkpoint::tensors(const std::string& file) const {
  GSPLIT_CHECK(has(file));
  return SafetensorsFile::open(directory_ / file);
}

fs::path step_checkpoint_directory(const fs::path& checkpoints, std::uint64_t step) {
  return checkpoints / (kStepPrefix + std::to_string(step));
}

std::vector<StepCheckpoint> list_step_checkpoints(const fs::path& checkpoints) {
  std::vector<StepCheckpoint> list;
  std::error_code none;
  for (const fs::directory_entry& entry : fs::directory_iterator(checkpoints, none)) {
    if (const auto step = step_of(entry.path().filename().string())) {
      list.push_back({*step, entry.path()});
    }
  }
  std::sort(list.begin(), list.end(),
            [](const StepCheckpoint& a, const StepCheckpoint& b) { return a.step > b.step; });
  return list;
}

std::optional<Checkpoint> latest_step_checkpoint(const fs::path& checkpoints, const Log& log) {
  for (const StepCheckpoint& candidate : list_step_checkpoints(checkpoints)) {
    try {
      return Checkpoint::open(candidate.directory);
    } catch (const Error& error) {
      log.warning(std::string("a checkpoint is passed over: ") + error.what());
    }
  }
  return std::nullopt;
}

void remove_old_step_checkpoints(const fs::path& checkpoints, std::size_t keep) {
  const std::vector<StepCheckpoint> list = list_step_checkpoints(checkpoints);
  for (std::size_t i = keep; i < list.size(); ++i) {
    // Under a hidden name first: a half-removed one must not look like a damaged one.
    const fs::path hidden = checkpoints / ("." + list[i].directory.filename().string() + ".old");
    std::error_code error;
    fs::rename(list[i].directory, hidden, error);
    fs::remove_all(error ? list[i].directory : hidden, error);
  }
}

}  // namespace gsplit
