#include "graph/import/npz_archive.h"

#include <zip.h>

#include <vector>

#include "graph/import/output_file.h"

namespace gsplit {
namespace {

constexpr std::size_t kChunk = std::size_t{1} << 20;
constexpr std::uint64_t kMostDeflated = 1032;  // deflate's largest ratio: 258 bytes for 2 bits

struct CloseMember {
  void operator()(zip_file_t* member) const { zip_fclose(member); }
};

}  // namespace

struct NpzArchive::Handle {
  zip_t* zip = nullptr;
  ~Handle() {
    if (zip != nullptr) zip_discard(zip);
  }
};

NpzArchive::NpzArchive(const std::filesystem::path& path)
    : path_(path), handle_(std::make_unique<Handle>()) {
  std::error_code ignored;
  if (std::filesystem::exists(path, ignored) && !std::filesystem::is_regular_file(path, ignored)) {
    throw UsageError(path.string() + " is not a regular file",
                     "name a file");  // a pipe would be waited for
  }
  int code = 0;
  handle_->zip = zip_open(path.c_str(), ZIP_RDONLY, &code);
  if (handle_->zip != nullptr) return;
  zip_error_t error;
  zip_error_init_with_code(&error, code);
  const std::string reason = zip_error_strerror(&error);
  zip_error_fini(&error);
  throw UsageError("cannot open " + path.string() + " as npz: " + reason,
                   "give a file written by numpy.savez");
}

NpzArchive::~NpzArchive() = default;

void NpzArchive::refuse(const std::string& name, const std::string& fault,
                        const std::string& remedy) const {
  throw UsageError(path_.string() + " member " + name + ".npy " + fault, remedy);
}

bool NpzArchive::has(const std::string& name) const {
  return zip_name_locate(handle_->zip, (name + ".npy").c_str(), 0) >= 0;
}

std::optional<std::string> NpzArchive::first_of(std::initializer_list<const char*> names) const {
  for (const char* name : names) {
    if (has(name)) return name;
  }
  return std::nullopt;
}

std::uint64_t NpzArchive::stated_bytes(const std::string& name) const {
  zip_stat_t status;
  if (zip_stat(handle_->zip, (name + ".npy").c_str(), 0, &status) != 0 ||
      (status.valid & ZIP_STAT_SIZE) == 0 || (status.valid & ZIP_STAT_COMP_SIZE) == 0) {
    refuse(name, "is missing or has no size");
  }
  // Others that libzip knows need memory as the archive says, and reach any size.
  if ((status.valid & ZIP_STAT_COMP_METHOD) == 0 ||
      (status.comp_method != ZIP_CM_STORE && status.comp_method != ZIP_CM_DEFLATE)) {
    refuse(name, "is neither stored nor deflated", "write it again with numpy.savez");
  }
  if (status.size / kMostDeflated > status.comp_size) {
    refuse(name, "states " + std::to_string(status.size) + " bytes, more than " +
                     std::to_string(status.comp_size) + " stored bytes can hold");
  }
  return status.size;
}

NpyArray NpzArchive::extract(const std::string& name, const std::filesystem::path& file) const {
  const std::uint64_t stated = stated_bytes(name);
  const std::unique_ptr<zip_file_t, CloseMember> member(
      zip_fopen(handle_->zip, (name + ".npy").c_str(), 0));
  if (!member) refuse(name, std::string("cannot be read: ") + zip_strerror(handle_->zip));
  OutputFile out(file);
  std::vector<char> buffer(kChunk);
  for (;;) {
    const zip_int64_t bytes = zip_fread(member.get(), buffer.data(), buffer.size());
    if (bytes < 0) {
      refuse(name, "is damaged after " + std::to_string(out.size()) +
                       " bytes: " + zip_error_strerror(zip_file_get_error(member.get())));
    }
    if (bytes == 0) break;
    if (out.size() + static_cast<std::uint64_t>(bytes) > stated) {
      refuse(name, "is longer than the " + std::to_string(stated) + " bytes that it states");
    }
    out.append(std::span<const char>(buffer.data(), static_cast<std::size_t>(bytes)));
  }
  out.flush();
  if (out.size() != stated) {
    refuse(name, "is truncated: it states " + std::to_string(stated) + " bytes and holds " +
                     std::to_string(out.size()));
  }
  return NpyArray::open(file, path_ / (name + ".npy"));
}

}  // namespace gsplit
