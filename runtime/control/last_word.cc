#include "runtime/control/last_word.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstddef>

namespace gsplit {
namespace {

static_assert(std::atomic<bool>::is_always_lock_free);  // hence works between processes
constexpr std::size_t kBytes = 4096;

}  // namespace

LastWord::~LastWord() {
  if (shared_ != nullptr) munmap(shared_, kBytes);
  if (descriptor_ >= 0) close(descriptor_);
  if (socket_ >= 0) close(socket_);
}

LastWord::Handle LastWord::share() {
  if (descriptor_ < 0) {
    descriptor_ = memfd_create("gsplit-last-word", MFD_CLOEXEC);
    if (descriptor_ < 0 || ftruncate(descriptor_, kBytes) != 0) return {};
    map(descriptor_);
  }
  return {static_cast<std::int32_t>(getpid()), descriptor_};
}

void LastWord::adopt(Handle handle) {
  if (is_shared() || handle.descriptor < 0) return;
  const std::string path = fmt::format("/proc/{}/fd/{}", handle.process, handle.descriptor);
  const int descriptor = open(path.c_str(), O_RDWR | O_CLOEXEC);
  if (descriptor < 0) return;
  map(descriptor);
  close(descriptor);
}

/// Fresh memory is zero: a flag that nobody has taken.
void LastWord::map(int descriptor) {
  void* const memory = mmap(nullptr, kBytes, PROT_READ | PROT_WRITE, MAP_SHARED, descriptor, 0);
  if (memory != MAP_FAILED) shared_ = static_cast<std::atomic<bool>*>(memory);
}

bool LastWord::take() {
  if (taken_.exchange(true)) return false;
  if (!hold_name()) return false;
  std::atomic<bool>* const shared = shared_;
  return shared == nullptr || !shared->exchange(true);
}

/// False when another process holds it; true also where there are no such names.
bool LastWord::hold_name() {
  if (name_.empty()) return true;
  sockaddr_un address{};
  address.sun_family = AF_UNIX;  // the name follows a zero
  const std::size_t length = std::min(name_.size(), sizeof(address.sun_path) - 1);
  std::copy_n(name_.begin(), length, address.sun_path + 1);
  socket_ = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
  const auto bytes = static_cast<socklen_t>(offsetof(sockaddr_un, sun_path) + 1 + length);
  if (bind(socket_, reinterpret_cast<const sockaddr*>(&address), bytes) == 0) return true;
  return errno != EADDRINUSE;
}

}  // namespace gsplit
