#include "graph/import/output_file.h"

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <string>

#include "kernels/base/error.h"

namespace gsplit {
namespace {

constexpr std::size_t kBuffer = std::size_t{1} << 20;

[[noreturn]] void fail(const std::string& what, const std::filesystem::path& path, int error) {
  throw SystemError("cannot " + what + " " + path.string() + ": " + std::strerror(error),
                    "free some space or write elsewhere");
}

}  // namespace

OutputFile::OutputFile(const std::filesystem::path& path) : path_(path) {
  fd_ = ::open(path.c_str(), O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0666);
  if (fd_ < 0) fail("create", path, errno);
  pending_.reserve(kBuffer);
}

OutputFile::~OutputFile() {
  if (fd_ >= 0) ::close(fd_);
}

void OutputFile::write_at(std::uint64_t offset, std::span<const std::byte> bytes) {
  while (!bytes.empty()) {
    const ssize_t done = ::pwrite(fd_, bytes.data(), bytes.size(), static_cast<off_t>(offset));
    if (done < 0) {
      if (errno == EINTR) continue;
      fail("write", path_, errno);
    }
    offset += static_cast<std::uint64_t>(done);
    bytes = bytes.subspan(static_cast<std::size_t>(done));
  }
}

void OutputFile::append(std::span<const std::byte> bytes) {
  if (pending_.size() + bytes.size() > kBuffer) flush();
  if (bytes.size() >= kBuffer) {
    write_at(written_, bytes);
    written_ += bytes.size();
  } else {
    pending_.insert(pending_.end(), bytes.begin(), bytes.end());
  }
}

void OutputFile::flush() {
  write_at(written_, pending_);
  written_ += pending_.size();
  pending_.clear();
}

void OutputFile::read(std::uint64_t offset, std::span<std::byte> out) const {
  GSPLIT_CHECK(pending_.empty() && offset + out.size() <= written_);
  while (!out.empty()) {
    const ssize_t done = ::pread(fd_, out.data(), out.size(), static_cast<off_t>(offset));
    if (done < 0 && errno == EINTR) continue;
    if (done <= 0) fail("read", path_, done < 0 ? errno : EIO);
    offset += static_cast<std::uint64_t>(done);
    out = out.subspan(static_cast<std::size_t>(done));
  }
}

void OutputFile::overwrite_start(std::span<const std::byte> bytes) {
  GSPLIT_CHECK(pending_.empty() && bytes.size() <= written_);
  write_at(0, bytes);
}

void OutputFile::append_file(const OutputFile& other) {
  std::vector<std::byte> buffer(kBuffer);
  for (std::uint64_t at = 0; at < other.size(); at += buffer.size()) {
    const auto part =
        std::span(buffer).first(std::min<std::uint64_t>(buffer.size(), other.size() - at));
    other.read(at, part);
    append(std::span<const std::byte>(part));
  }
}

std::uint64_t free_disk_bytes(const std::filesystem::path& directory) {
  std::error_code error;
  const std::filesystem::space_info space = std::filesystem::space(directory, error);
  if (error) {
    throw SystemError("cannot ask for the free space of " + directory.string() + ": " +
                      error.message());
  }
  return space.available;
}

}  // namespace gsplit
