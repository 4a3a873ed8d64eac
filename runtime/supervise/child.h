// A child process. It has a process group of its own, so that a terminal's Ctrl-C reaches only
// whoever supervises it; nothing to read; and SIGTERM from the kernel when its parent dies.
#pragma once

#include <sys/types.h>

#include <optional>
#include <string>
#include <vector>

namespace gsplit {

class Child {
 public:
  /// The program is looked for on PATH; one that cannot be started ends with 127. Throws
  /// SystemError where the system makes no process.
  static Child start(const std::vector<std::string>& command);

  /// Its exit code, as a shell gives it (128 + signal); nothing while it runs.
  std::optional<int> poll();
  int wait();
  /// REQUIRES: it has not been waited for.
  void signal(int number) const;
  /// To all that stayed in its process group.
  void signal_group(int number) const;

 private:
  explicit Child(pid_t pid) : pid_(pid) {}
  void note(int status);

  pid_t pid_;
  std::optional<int> code_;
};

}  // namespace gsplit
