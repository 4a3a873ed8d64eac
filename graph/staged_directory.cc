#include "graph/staged_directory.h"

#include <fcntl.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <string>
#include <system_error>
#include <vector>

#include "kernels/base/error.h"

namespace gsplit {
namespace {

namespace fs = std::filesystem;

/// Without the trailing slash that would make its file name empty.
fs::path without_slash(const fs::path& path) {
  const fs::path absolute = fs::absolute(path).lexically_normal();
  return absolute.has_filename() ? absolute : absolute.parent_path();
}

std::string staging_prefix(const fs::path& target) {
  std::string prefix = ".";
  prefix += target.filename().string() + ".unfinished-";
  return prefix;
}

bool is_there(const fs::path& path) { return fs::exists(fs::symlink_status(path)); }

void flush(const fs::path& path) {
  const int fd = ::open(path.c_str(), O_RDONLY | O_CLOEXEC);
  const bool flushed = fd >= 0 && ::fsync(fd) == 0;
  const std::error_code error(errno, std::generic_category());
  if (fd >= 0) ::close(fd);
  if (!flushed) {
    throw SystemError("cannot flush " + path.string() + " to the disk: " + error.message(),
                      "check the disk's space and health");
  }
}

void flush_tree(const fs::path& root) {
  for (const fs::directory_entry& entry : fs::recursive_directory_iterator(root)) {
    flush(entry.path());
  }
  flush(root);
}

/// Makes the first of `prefix`0, 1, 2, ... that is not there.
fs::path make_new_directory(const fs::path& parent, const std::string& prefix) {
  std::error_code error;
  fs::create_directories(parent, error);
  for (int i = 0; !error; ++i) {
    const fs::path candidate = parent / (prefix + std::to_string(i));
    if (fs::create_directory(candidate, error)) return candidate;
  }
  throw SystemError("cannot make a directory in " + parent.string() + ": " + error.message(),
                    "check the directory and its permissions");
}

}  // namespace

StagedDirectory::StagedDirectory(const fs::path& target, Existing existing)
    : target_(without_slash(target)), existing_(existing) {
  if (existing == Existing::kRefuse && is_there(target_)) {
    throw UsageError(target_.string() + " exists already", "remove it or name another directory");
  }
  staging_ = make_new_directory(target_.parent_path(), staging_prefix(target_));
}

StagedDirectory::~StagedDirectory() {
  std::error_code ignored;
  if (!staging_.empty()) fs::remove_all(staging_, ignored);
}

void StagedDirectory::commit() {
  flush_tree(staging_);
  std::error_code error;
  if (!is_there(target_)) {
    fs::rename(staging_, target_, error);
  } else if (existing_ == Existing::kReplace) {
    replace(error);
  } else {  // rename() would take the place of an empty directory
    error = std::make_error_code(std::errc::file_exists);
  }
  if (error) {
    throw SystemError("cannot rename " + staging_.string() + " to " + target_.string() + ": " +
                      error.message());
  }
  staging_.clear();
  flush(target_.parent_path());
}

void StagedDirectory::replace(std::error_code& error) {
  if (::renameat2(AT_FDCWD, staging_.c_str(), AT_FDCWD, target_.c_str(), RENAME_EXCHANGE) == 0) {
    fs::remove_all(staging_, error);
    return;
  }
  fs::remove_all(target_, error);
  if (!error) fs::rename(staging_, target_, error);
}

void StagedDirectory::remove_leftovers(const fs::path& target) {
  const fs::path whole = without_slash(target);
  const std::string prefix = staging_prefix(whole);
  std::vector<fs::path> leftovers;
  for (const fs::directory_entry& entry : fs::directory_iterator(whole.parent_path())) {
    if (entry.path().filename().string().starts_with(prefix)) leftovers.push_back(entry.path());
  }
  for (const fs::path& path : leftovers) {
    std::error_code ignored;
    fs::remove_all(path, ignored);
  }
}

}  // namespace gsplit
