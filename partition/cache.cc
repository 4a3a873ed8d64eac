#include "partition/cache.h"

#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstdlib>
#include <cstring>

#include "partition/prepare.h"

namespace gsplit {
namespace {

/// An environment variable that is set and not empty.
std::optional<std::filesystem::path> path_from(const char* variable) {
  const char* const text = std::getenv(variable);
  if (text == nullptr || *text == '\0') return std::nullopt;
  return text;
}

std::filesystem::path cache_location() {
  if (const auto own = path_from("GSPLIT_CACHE")) return *own;
  if (const auto shared = path_from("XDG_CACHE_HOME")) return *shared / "gsplit";
  if (const auto home = path_from("HOME")) return *home / ".cache" / "gsplit";
  throw UsageError("there is no cache folder: HOME is not set", "set GSPLIT_CACHE");
}

/// flock() that goes on after signals; returns 0 or an errno.
int lock_file(int descriptor, int operation) {
  while (::flock(descriptor, operation) != 0) {
    if (errno != EINTR) return errno;
  }
  return 0;
}

}  // namespace

std::filesystem::path cache_directory() {
  const std::filesystem::path directory = cache_location();
  std::error_code error;
  std::filesystem::create_directories(directory, error);
  if (error) {
    throw SystemError(
        "cannot create the cache folder " + directory.string() + ": " + error.message(),
        "set GSPLIT_CACHE to a directory that can be written");
  }
  return directory;
}

std::string file_stamp(const std::filesystem::path& file) {
  struct stat status;
  if (::stat(file.c_str(), &status) != 0) {
    throw UsageError("cannot read " + file.string() + ": " + std::strerror(errno),
                     "check the path and its permissions");
  }
  return std::to_string(status.st_size) + " bytes, changed " +
         std::to_string(status.st_mtim.tv_sec) + "." + std::to_string(status.st_mtim.tv_nsec);
}

FileLock::FileLock(const std::filesystem::path& file, const Log& log)
    : descriptor_(::open(file.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0666)) {
  int error = descriptor_ < 0 ? errno : lock_file(descriptor_, LOCK_EX | LOCK_NB);
  if (error == EWOULDBLOCK) {
    log.info("waiting for another process to finish " + file.stem().string());
    error = lock_file(descriptor_, LOCK_EX);
  }
  if (error == 0) return;
  if (descriptor_ >= 0) ::close(descriptor_);
  throw SystemError("cannot lock " + file.string() + ": " + std::strerror(error),
                    "set GSPLIT_CACHE to a directory on a file system with locks");
}

FileLock::~FileLock() { ::close(descriptor_); }

}  // namespace gsplit
