#include "graph/staged_directory.h"

#include <unistd.h>

#include "kernels/base/error.h"

namespace gsplit {
namespace {

/// Without the trailing slash that would make its file name empty.
std::filesystem::path without_slash(const std::filesystem::path& path) {
  const std::filesystem::path absolute = std::filesystem::absolute(path).lexically_normal();
  return absolute.has_filename() ? absolute : absolute.parent_path();
}

}  // namespace

StagedDirectory::StagedDirectory(const std::filesystem::path& target)
    : target_(without_slash(target)) {
  if (std::filesystem::exists(std::filesystem::symlink_status(target_))) {
    throw UsageError(target_.string() + " exists already", "remove it or name another directory");
  }
  std::string name = ".";
  name += target_.filename().string() + "." + std::to_string(::getpid()) + ".unfinished";
  std::error_code error;
  std::filesystem::create_directories(target_.parent_path(), error);
  const std::filesystem::path staging = target_.parent_path() / name;
  if (!error) std::filesystem::create_directory(staging, error);
  if (error) {
    throw SystemError("cannot make " + staging.string() + ": " + error.message(),
                      "check the directory and its permissions");
  }
  staging_ = staging;
}

StagedDirectory::~StagedDirectory() {
  std::error_code ignored;
  if (!staging_.empty()) std::filesystem::remove_all(staging_, ignored);
}

void StagedDirectory::commit() {
  std::error_code error;
  std::filesystem::rename(staging_, target_, error);
  if (error) {
    throw SystemError("cannot rename " + staging_.string() + " to " + target_.string() + ": " +
                      error.message());
  }
  staging_.clear();
}

}  // namespace gsplit
