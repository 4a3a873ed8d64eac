#include "runtime/train/stuck_launcher.h"

#include <fcntl.h>
#include <spawn.h>
#include <unistd.h>

#include <array>
#include <sstream>
#include <string>

#include "runtime/train/text_file.h"

namespace gsplit {
namespace {

/// What /proc tells of a process.
struct ProcessStat {
  std::string name;
  std::string start_time;  ///< with the id it names a process; ids are used again
};

ProcessStat stat_of(pid_t pid) {
  const std::string text = read_text("/proc/" + std::to_string(pid) + "/stat");
  const std::size_t open = text.find('('), close = text.rfind(')');
  if (open == text.npos || close == text.npos) return {};
  constexpr int kFieldsBefore = 19;  // between the name and the time
  std::istringstream fields(text.substr(close + 1));
  ProcessStat stat{.name = text.substr(open + 1, close - open - 1), .start_time = ""};
  std::string skipped;
  for (int i = 0; i < kFieldsBefore; ++i) fields >> skipped;
  fields >> stat.start_time;
  return stat;
}

bool is_mpirun(const std::string& name) {
  return name == "mpirun" || name == "orterun" || name == "mpiexec";
}

/// In a session of its own, with nothing of ours open that the launcher waits for.
void start_apart(const std::string& script) {
  posix_spawn_file_actions_t files;
  posix_spawn_file_actions_init(&files);
  for (const int file : {STDIN_FILENO, STDOUT_FILENO, STDERR_FILENO}) {
    posix_spawn_file_actions_addopen(&files, file, "/dev/null", O_RDWR, 0);
  }
  posix_spawn_file_actions_addclosefrom_np(&files, STDERR_FILENO + 1);
  posix_spawnattr_t attributes;
  posix_spawnattr_init(&attributes);
  posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETSID);
  std::string shell = "/bin/sh", option = "-c", text = script;
  const std::array<char*, 4> argv{shell.data(), option.data(), text.data(), nullptr};
  pid_t child = 0;
  posix_spawn(&child, shell.c_str(), &files, &attributes, argv.data(), environ);
  posix_spawnattr_destroy(&attributes);
  posix_spawn_file_actions_destroy(&files);
}

}  // namespace

void end_stuck_launcher_after(std::chrono::seconds patience) {
  const pid_t launcher = getppid();
  const ProcessStat stat = stat_of(launcher);
  if (!is_mpirun(stat.name) || stat.start_time.empty()) return;
  const std::string id = std::to_string(launcher);
  // Polls, so that nothing of a job that ends as it should is left for long. Field 22 of stat is
  // the start time, as mpirun's name has no blanks. Its children are ssh to hosts that are gone,
  // which keep its output open.
  start_apart("n=" + std::to_string(patience.count()) + "; cd /proc/" + id +
              " && while t=$(cut -d' ' -f22 stat 2>/dev/null) && [ \"$t\" = " + stat.start_time +
              " ]; do [ $n -gt 0 ] || exec kill -KILL " + id + " $(cat task/" + id +
              "/children); n=$((n-1)); sleep 1; done");
}

}  // namespace gsplit
