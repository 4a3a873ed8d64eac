#include "runtime/control/secret_file.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

#include "kernels/base/error.h"

namespace gsplit {
namespace {

constexpr std::size_t kMaxBytes = 64 << 10;

/// A descriptor that closes itself.
class Descriptor {
 public:
  explicit Descriptor(int number) : number_(number) {}
  ~Descriptor() {
    if (number_ >= 0) close(number_);
  }
  Descriptor(const Descriptor&) = delete;
  Descriptor& operator=(const Descriptor&) = delete;
  int number() const { return number_; }

 private:
  int number_;
};

/// Looks at the open file, which no rename can exchange any more.
void require_secrecy(int descriptor, const std::filesystem::path& path, const std::string& what) {
  struct stat state {};
  if (fstat(descriptor, &state) != 0 || !S_ISREG(state.st_mode)) {
    throw UsageError(what + " is no plain file", "give a file");
  }
  if (state.st_uid != geteuid() && state.st_uid != 0) {
    throw UsageError(what + " belongs to another user", "give a file of your own");
  }
  if ((state.st_mode & (S_IRWXG | S_IRWXO)) != 0) {
    throw UsageError(fmt::format("{} can be read or written by others (mode {:04o})", what,
                                 state.st_mode & 07777),
                     "chmod 600 " + path.string());
  }
}

std::string read_all(int descriptor, const std::string& what) {
  std::string content(kMaxBytes + 1, '\0');
  std::size_t length = 0;
  while (length < content.size()) {
    const ssize_t got = read(descriptor, content.data() + length, content.size() - length);
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) throw UsageError(what + " cannot be read: " + std::strerror(errno), "");
    if (got == 0) break;
    length += static_cast<std::size_t>(got);
  }
  if (length > kMaxBytes) throw UsageError(what + " is longer than 64 KiB", "give the right file");
  content.resize(length);
  return content;
}

bool write_all(int descriptor, const std::string& content) {
  std::size_t written = 0;
  while (written < content.size()) {
    const ssize_t put = write(descriptor, content.data() + written, content.size() - written);
    if (put < 0 && errno == EINTR) continue;
    if (put <= 0) return false;
    written += static_cast<std::size_t>(put);
  }
  return true;
}

}  // namespace

std::string read_secret_file(const std::filesystem::path& path, const std::string& what) {
  const Descriptor file(open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY));
  if (file.number() < 0) {
    throw UsageError(what + " cannot be read: " + std::strerror(errno), "give the right file");
  }
  require_secrecy(file.number(), path, what);
  return read_all(file.number(), what);
}

int make_secret_file(const std::filesystem::path& path, const std::string& content) {
  const int descriptor =
      open(path.c_str(), O_RDWR | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, S_IRUSR | S_IWUSR);
  if (descriptor < 0) return -1;
  if (write_all(descriptor, content)) return descriptor;
  const int error = errno;
  unlink(path.c_str());
  close(descriptor);
  errno = error;
  return -1;
}

}  // namespace gsplit
