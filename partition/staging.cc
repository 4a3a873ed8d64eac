#include "partition/staging.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <unistd.h>

#include <cerrno>
#include <system_error>
#include <utility>
#include <vector>

#include "kernels/base/error.h"

namespace gsplit {
namespace {

namespace fs = std::filesystem;

std::string staging_prefix(const fs::path& target) {
  return fmt::format(".{}.partial-", target.filename().string());
}

void require_absent(const fs::path& target) {
  std::error_code error;
  if (fs::symlink_status(target, error).type() == fs::file_type::not_found) return;
  throw UsageError(target.string() + " exists already", "name a new directory or remove it");
}

[[noreturn]] void fail(const std::string& what, const std::error_code& error) {
  throw SystemError(what + ": " + error.message(), "check permissions and the disk's space");
}

void flush(const fs::path& path) {
  const int fd = ::open(path.c_str(), O_RDONLY | O_CLOEXEC);
  const bool flushed = fd >= 0 && ::fsync(fd) == 0;
  const std::error_code error(errno, std::generic_category());
  if (fd >= 0) ::close(fd);
  if (!flushed) fail("cannot flush " + path.string(), error);
}

void flush_tree(const fs::path& root) {
  for (const fs::directory_entry& entry : fs::recursive_directory_iterator(root)) {
    flush(entry.path());
  }
  flush(root);
}

/// `a/b/` names the same directory as `a/b`, but has no last component to put a dot before.
fs::path without_trailing_slash(const fs::path& path) {
  const fs::path normal = path.lexically_normal();
  return normal.has_filename() ? normal : normal.parent_path();
}

}  // namespace

StagingDirectory::StagingDirectory(fs::path target) : target_(without_trailing_slash(target)) {
  require_absent(target_);
  const fs::path parent = fs::absolute(target_).parent_path();
  const std::string prefix = staging_prefix(target_) + std::to_string(::getpid()) + "-";
  std::error_code error;
  fs::create_directories(parent, error);
  for (int attempt = 0; !error; ++attempt) {
    path_ = parent / (prefix + std::to_string(attempt));
    if (fs::create_directory(path_, error)) return;
  }
  fail("cannot write in " + parent.string(), error);
}

StagingDirectory::~StagingDirectory() {
  std::error_code ignored;
  if (!path_.empty()) fs::remove_all(path_, ignored);
}

void StagingDirectory::commit() {
  flush_tree(path_);
  require_absent(target_);  // rename() would take the place of an empty directory
  std::error_code error;
  fs::rename(path_, target_, error);
  if (error) fail("cannot rename " + path_.string() + " to " + target_.string(), error);
  path_.clear();
  flush(fs::absolute(target_).parent_path());
}

void StagingDirectory::remove_leftovers(const fs::path& target) {
  const std::string prefix = staging_prefix(target);
  std::vector<fs::path> leftovers;
  for (const fs::directory_entry& entry : fs::directory_iterator(target.parent_path())) {
    if (entry.path().filename().string().starts_with(prefix)) leftovers.push_back(entry.path());
  }
  for (const fs::path& path : leftovers) {
    std::error_code ignored;
    fs::remove_all(path, ignored);
  }
}

}  // namespace gsplit
