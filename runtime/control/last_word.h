// Who tells the user: of all that find out about a failure, in whichever process, exactly one gets
// the word.
//
// On one host that is a flag in memory that the processes of the job share once they have met: it
// stays taken when its holder dies, and is gone with the last process. Before they have met it is a
// socket's name that no two processes can hold (Linux's abstract namespace); its holder has to live
// on until the others have had their turn.
#pragma once

#include <atomic>
#include <cstdint>
#include <string>

namespace gsplit {

/// Thread-safe.
class LastWord {
 public:
  /// How the other processes of this host find the flag.
  struct Handle {
    std::int32_t process = 0;
    std::int32_t descriptor = -1;  ///< -1: there is none
  };

  /// `name`: of the job on this host, the same in all its processes; empty where this process is
  /// the whole job.
  explicit LastWord(const std::string& name = "") : name_(name) {}
  ~LastWord();
  LastWord(const LastWord&) = delete;
  LastWord& operator=(const LastWord&) = delete;

  /// Makes the shared flag; where the system has no such memory, what adopt() gets is of no use.
  Handle share();
  /// Takes the flag of the process that has made it, if that can be reached: not on another host.
  void adopt(Handle handle);
  bool is_shared() const { return shared_ != nullptr; }
  /// True for exactly one call in all processes that share the flag or the name.
  bool take();

 private:
  bool hold_name();
  void map(int descriptor);

  const std::string name_;
  std::atomic<bool> taken_{false};
  std::atomic<std::atomic<bool>*> shared_{nullptr};
  int descriptor_ = -1;
  int socket_ = -1;
};

}  // namespace gsplit
