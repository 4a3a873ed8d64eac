#include "runtime/train/safetensors.h"

#include <algorithm>
#include <cstring>
#include <nlohmann/json.hpp>

#include "graph/json_input.h"
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

template <class T>
std::vector<T> integers_of(const std::filesystem::path& path, const std::string& name,
                           const Json& entry, const char* key) {
  const auto list = entry.find(key);
  if (list == entry.end() || !list->is_array()) refuse(path, name + " has no list " + key);
  std::vector<T> integers;
  for (const Json& json : *list) {
    const auto number = whole_number<T>(json);
    if (!number) refuse(path, name + " has a " + key + " that is not of integers");
    integers.push_back(*number);
  }
  return integers;
}

Tensor parse_tensor(const std::filesystem::path& path, const std::string& name, const Json& entry,
                    std::span<const std::byte> data) {
  if (!entry.is_object()) refuse(path, "the header entry of " + name + " is no JSON object");
  Tensor tensor;
  tensor.dtype = text_or(entry, "dtype", "");
  tensor.shape = integers_of<std::int64_t>(path, name, entry, "shape");
  const auto offsets = integers_of<std::uint64_t>(path, name, entry, "data_offsets");
  if (offsets.size() != 2) refuse(path, name + " has no two data_offsets");
  const std::uint64_t begin = offsets[0];
  const std::uint64_t end = offsets[1];
  if (begin > end || end > data.size() || end - begin != expected_bytes(path, name, tensor)) {
    refuse(path, name + " does not lie inside the file as its shape says");
  }
  tensor.data = data.subspan(begin, end - begin);
  return tensor;
}

/// The format wants all of the data to be of tensors, none of it of two.
void check_layout(const std::filesystem::path& path, const std::map<std::string, Tensor>& tensors,
                  std::span<const std::byte> data) {
  std::vector<std::pair<std::size_t, std::size_t>> places;
  for (const auto& [name, tensor] : tensors) {
    const auto begin = static_cast<std::size_t>(tensor.data.data() - data.data());
    places.emplace_back(begin, begin + tensor.data.size());
  }
  std::sort(places.begin(), places.end());
  std::size_t at = 0;
  for (const auto& [begin, end] : places) {
    if (begin != at)
      refuse(path, "the tensors overlap or leave a hole at byte " + std::to_string(at));
    at = end;
  }
  if (at != data.size())
    refuse(path, std::to_string(data.size() - at) + " bytes belong to no tensor");
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
  const auto header = parse_json<Json>({text, header_size});
  if (!header.is_object()) refuse(path, "the header is no JSON object");
  const auto data = bytes.subspan(sizeof(header_size) + header_size);
  for (const auto& [name, entry] : header.items()) {
    if (name == "__metadata__") continue;
    result.tensors_[name] = parse_tensor(path, name, entry, data);
  }
  check_layout(path, result.tensors_, data);
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
