// Two kinds of failure, never mixed:
//
//  - Error: the outside world is at fault (a file, a flag, a peer, the system). It carries one
//  sentence on what
//    happened and one on what the user can do, and the exit code of the process. Only main() prints
//    it.
//  - InternalError (GSPLIT_CHECK): an invariant of ours is broken, a defect of gsplit.
//
// Thread-safe: both are plain exceptions.
#pragma once

#include <stdexcept>
#include <string>

namespace gsplit {

/// Exit codes of the executable; part of the outside contract.
enum class ExitCode : int {
  kDone = 0,
  kUsage = 2,     ///< usage or bad input; trying again without a change is useless
  kSystem = 3,    ///< a peer or the system failed; resumable
  kStopped = 130  ///< stopped by the user or the scheduler
};

class Error : public std::runtime_error {
 public:
  /// `what`: what happened and where (file, flag, rank); `remedy`: what the user can do, may be
  /// empty. Line breaks in either are replaced by spaces, so that a failure is one line.
  Error(ExitCode code, const std::string& what, const std::string& remedy = "");
  ExitCode code() const noexcept { return code_; }

 private:
  ExitCode code_;
};

/// Bad flag, file or data: exit code 2.
class UsageError : public Error {
 public:
  explicit UsageError(const std::string& what, const std::string& remedy = "")
      : Error(ExitCode::kUsage, what, remedy) {}
};

/// The operating system, a peer or a deadline: exit code 3.
class SystemError : public Error {
 public:
  explicit SystemError(const std::string& what, const std::string& remedy = "")
      : Error(ExitCode::kSystem, what, remedy) {}
};

class InternalError : public std::logic_error {
 public:
  using std::logic_error::logic_error;
};

namespace detail {
[[noreturn]] void check_failed(const char* condition, const char* file, int line);
}  // namespace detail

}  // namespace gsplit

/// Throws InternalError if `condition` is false; for our own invariants, never for user input.
#define GSPLIT_CHECK(condition) \
  ((condition) ? void(0) : ::gsplit::detail::check_failed(#condition, __FILE__, __LINE__))
