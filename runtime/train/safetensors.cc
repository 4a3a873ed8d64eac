#include "runtime/train/safetensors.h"

#include <algorithm>
#include <cstring>
#include <nlohmann/json.hpp>

#include "kernels/base/error.h"

namespace gsplit {
namespace {

using Json = nlohmann::json;

constexpr std::uint64_t kMaxHeader = 100'000'000;

const std::map<std::string, std::uint64_t>& element_sizes() {
  static const std::map<std::string, std::uint64_t> sizes{
      {"BOOL", 1}, {"U8", 1},  {"I8", 1},  {"U16", 2}, {"I16", 2}, {"F16", 2}, {"BF16", 2},
      {"U32", 4},  {"I32", 4}, {"F32", 4}, {"U64", 8}, {"I64", 8}, {"F64", 8}};
  return sizes;
}

[[noreturn]] void refuse(const std::filesystem::path& path, const std::string& fault) {
  throw UsageError(path.string() + ": " + fault, "the file is damaged or no safetensors file");
}

/// Bytes of a tensor by dtype and shape; refuses unknown types, negative extents and overflow.
std::uint64_t expected_bytes(const std::filesystem::path& path, const std::string& name,
                             const Tensor& tensor) {
  const auto size = element_sizes().find(tensor.dtype);
  if (size == element_sizes().end()) refuse(path, name + " has unknown dtype " + tensor.dtype);
  std::uint64_t bytes = size->second;
  for (std::int64_t extent : tensor.shape) {
    if (extent < 0 || __builtin_mul_overflow(bytes, static_cast<std::uint64_t>(extent), &bytes)) {
      refuse(path, name + " has an impossible shape");
    }
  }
  return bytes;
}

Tensor parse_tensor(const std::filesystem::path& path, const std::string& name, const Json& entry,
                    std::span<const std::byte> data) {
  Tensor tensor;
  std::array<std::uint64_t, 2> offsets{};
  try {
    tensor.dtype = entry.at("dtype").get<std::string>();
    tensor.shape = entry.at("shape").get<std::vector<std::int64_t>>();
    offsets = entry.at("data_offsets").get<std::array<std::uint64_t, 2>>();
  } catch (const Json::exception&) {
    refuse(path, "the header entry of " + name + " lacks dtype, shape or data_offsets");
  }
  const auto [begin, end] = offsets;
  if (begin > end || end > data.size() || end - begin != expected_bytes(path, name, tensor)) {
    refuse(path, name + " does not lie inside the file as its shape says");
  }
  tensor.data = data.subspan(begin, end - begin);
  return tensor;
}

/// The header with offsets, padded with spaces to a multiple of 8 as the format asks.
std::string header_of(const std::vector<std::pair<std::string, Tensor>>& tensors) {
  nlohmann::ordered_json header = nlohmann::ordered_json::object();
  std::uint64_t offset = 0;
  for (const auto& [name, tensor] : tensors) {
    header[name] = {{"dtype", tensor.dtype},
                    {"shape", tensor.shape},
                    {"data_offsets", {offset, offset + tensor.data.size()}}};
    offset += tensor.data.size();
  }
  std::string text = header.dump();
  text.resize((text.size() + 7) / 8 * 8, ' ');
  return text;
}

}  // namespace

SafetensorsFile SafetensorsFile::open(const std::filesystem::path& path) {
  SafetensorsFile result;
  result.path_ = path;
  result.file_ = MappedFile::open(path);
  const std::span<const std::byte> bytes = result.file_.bytes();
  std::uint64_t header_size = 0;
  if (bytes.size() < sizeof(header_size)) refuse(path, "shorter than its 8-byte length field");
  std::memcpy(&header_size, bytes.data(), sizeof(header_size));
  if (header_size > kMaxHeader || header_size > bytes.size() - sizeof(header_size)) {
    refuse(path, "the header is longer than the file");
  }
  const auto* text = reinterpret_cast<const char*>(bytes.data()) + sizeof(header_size);
  const Json header = Json::parse(text, text + header_size, nullptr, false);
  if (!header.is_object()) refuse(path, "the header is no JSON object");
  const auto data = bytes.subspan(sizeof(header_size) + header_size);
  for (const auto& [name, entry] : header.items()) {
    if (name == "__metadata__") continue;
    result.tensors_[name] = parse_tensor(path, name, entry, data);
  }
  return result;
}

const Tensor& SafetensorsFile::at(const std::string& name) const {
  const auto tensor = tensors_.find(name);
  if (tensor == tensors_.end()) {
    throw UsageError(path_.string() + ": has no tensor " + name,
                     "give weights of the same model and number of layers");
  }
  return tensor->second;
}

void write_safetensors(const std::filesystem::path& path,
                       const std::vector<std::pair<std::string, Tensor>>& tensors) {
  const std::string header = header_of(tensors);
  const std::uint64_t header_size = header.size();
  std::size_t total = sizeof(header_size) + header.size();
  for (const auto& [name, tensor] : tensors) total += tensor.data.size();
  MappedFile file = MappedFile::create(path, total);
  std::byte* out = file.writable_bytes().data();
  const auto append = [&out](const void* data, std::size_t bytes) {
    if (bytes > 0) std::memcpy(out, data, bytes);
    out += bytes;
  };
  append(&header_size, sizeof(header_size));
  append(header.data(), header.size());
  for (const auto& [name, tensor] : tensors) append(tensor.data.data(), tensor.data.size());
  file.sync();
}

}  // namespace gsplit
