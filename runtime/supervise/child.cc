#include "runtime/supervise/child.h"

#include <fcntl.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <csignal>
#include <cstring>

#include "kernels/base/error.h"

namespace gsplit {
namespace {

constexpr int kCannotStart = 127;

/// In the child, between fork and exec: nothing here takes memory or a lock.
[[noreturn]] void become(char* const* argv, pid_t parent) {
  setpgid(0, 0);
  prctl(PR_SET_PDEATHSIG, SIGTERM);
  if (getppid() != parent) _exit(kCannotStart);
  sigset_t none;
  sigemptyset(&none);
  sigprocmask(SIG_SETMASK, &none, nullptr);
  const int nothing = open("/dev/null", O_RDONLY);
  if (nothing >= 0) dup2(nothing, STDIN_FILENO);
  execvp(argv[0], argv);
  const char* const why = strerror(errno);
  for (const char* text : {"gsplit: cannot start ", static_cast<const char*>(argv[0]), ": ", why,
                           "; is it installed and on PATH?\n"}) {
    [[maybe_unused]] const ssize_t written = write(STDERR_FILENO, text, strlen(text));
  }
  _exit(kCannotStart);
}

}  // namespace

Child Child::start(const std::vector<std::string>& command) {
  GSPLIT_CHECK(!command.empty());
  std::vector<std::string> words = command;
  std::vector<char*> argv;
  for (std::string& word : words) argv.push_back(word.data());
  argv.push_back(nullptr);
  const pid_t self = getpid();
  const pid_t pid = fork();
  if (pid == 0) become(argv.data(), self);
  if (pid < 0) {
    throw SystemError(std::string("cannot start a process: ") + std::strerror(errno),
                      "see the limits of this user");
  }
  setpgid(pid, pid);  // in whichever of the two comes first
  return Child(pid);
}

void Child::note(int status) {
  code_ = WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

std::optional<int> Child::poll() {
  int status = 0;
  if (!code_ && waitpid(pid_, &status, WNOHANG) == pid_) note(status);
  return code_;
}

int Child::wait() {
  int status = 0;
  while (!code_) {
    if (waitpid(pid_, &status, 0) == pid_) note(status);
  }
  return *code_;
}

void Child::signal(int number) const { kill(pid_, number); }

void Child::signal_group(int number) const { kill(-pid_, number); }

}  // namespace gsplit
