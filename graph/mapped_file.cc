#include "graph/mapped_file.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <limits>
#include <utility>

#include "kernels/base/error.h"

namespace gsplit {
namespace {

/// Owner of a file descriptor; the mapping outlives it.
class Descriptor {
 public:
  explicit Descriptor(int fd) : fd_(fd) {}
  Descriptor(const Descriptor&) = delete;
  Descriptor& operator=(const Descriptor&) = delete;
  ~Descriptor() {
    if (fd_ >= 0) ::close(fd_);
  }
  int get() const { return fd_; }

 private:
  int fd_;
};

std::string reason(int error) { return std::strerror(error); }

/// Size of the regular file behind `file`.
std::size_t regular_size(const Descriptor& file, const std::filesystem::path& path) {
  struct stat status;
  if (::fstat(file.get(), &status) != 0) {
    throw SystemError("cannot stat " + path.string() + ": " + reason(errno));
  }
  if (!S_ISREG(status.st_mode)) {
    throw UsageError(path.string() + " is not a regular file", "name a file");
  }
  return static_cast<std::size_t>(status.st_size);
}

std::byte* map(const Descriptor& file, std::size_t bytes, int protection, int flags,
               const std::filesystem::path& path) {
  if (bytes == 0) return nullptr;  // mmap refuses empty ranges
  void* data = ::mmap(nullptr, bytes, protection, flags, file.get(), 0);
  if (data == MAP_FAILED) {
    throw SystemError(
        "cannot map " + std::to_string(bytes) + " bytes of " + path.string() + ": " + reason(errno),
        "check ulimit -v and the file system");
  }
  return static_cast<std::byte*>(data);
}

void reserve(const Descriptor& file, std::size_t bytes, const std::filesystem::path& path) {
  if (bytes == 0) return;
  int error = EFBIG;
  if (bytes <= static_cast<std::size_t>(std::numeric_limits<off_t>::max())) {
    do {
      error = ::posix_fallocate(file.get(), 0, static_cast<off_t>(bytes));
    } while (error == EINTR);
  }
  if (error != 0) {
    ::unlink(path.c_str());
    throw SystemError("cannot reserve " + std::to_string(bytes) + " bytes for " + path.string() +
                          ": " + reason(error),
                      "free some space or write elsewhere");
  }
}

}  // namespace

MappedFile MappedFile::open(const std::filesystem::path& path) {
  // Non-blocking, so that a pipe given by mistake is refused instead of waited for.
  const Descriptor file(::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK));
  if (file.get() < 0) {
    throw UsageError("cannot open " + path.string() + ": " + reason(errno),
                     "check the path and its permissions");
  }
  MappedFile mapped;
  mapped.size_ = regular_size(file, path);
  mapped.data_ = map(file, mapped.size_, PROT_READ, MAP_SHARED, path);
  return mapped;
}

MappedFile MappedFile::create(const std::filesystem::path& path, std::size_t bytes) {
  const Descriptor file(::open(path.c_str(), O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0666));
  if (file.get() < 0) {
    throw SystemError("cannot create " + path.string() + ": " + reason(errno),
                      "check the directory and its permissions");
  }
  reserve(file, bytes, path);
  MappedFile mapped;
  mapped.data_ = map(file, bytes, PROT_READ | PROT_WRITE, MAP_SHARED, path);
  mapped.size_ = bytes;
  return mapped;
}

MappedFile::MappedFile(MappedFile&& other) noexcept
    : data_(std::exchange(other.data_, nullptr)), size_(std::exchange(other.size_, 0)) {}

MappedFile& MappedFile::operator=(MappedFile&& other) noexcept {
  std::swap(data_, other.data_);
  std::swap(size_, other.size_);
  return *this;
}

MappedFile::~MappedFile() {
  if (data_ != nullptr) ::munmap(data_, size_);
}

void MappedFile::sync() {
  if (data_ != nullptr && ::msync(data_, size_, MS_SYNC) != 0) {
    throw SystemError("cannot write a mapped file to the disk: " + reason(errno),
                      "check the disk's space and health");
  }
}

}  // namespace gsplit
