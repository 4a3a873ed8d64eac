#include "runtime/control/fault.h"

#include <unistd.h>

#include <csignal>
#include <cstdlib>
#include <map>
#include <sstream>
#include <thread>

#include "kernels/base/error.h"
#include "runtime/control/progress.h"

namespace gsplit {
namespace {

const std::map<std::string, int> kSignals{{"KILL", SIGKILL}, {"STOP", SIGSTOP}, {"TERM", SIGTERM},
                                          {"USR1", SIGUSR1}, {"INT", SIGINT},   {"exit", 0}};

}  // namespace

std::unique_ptr<Fault> Fault::from_environment(int rank) {
  const char* const text = std::getenv("GSPLIT_FAULT");
  std::istringstream faults(text == nullptr ? "" : text);
  for (std::string one; std::getline(faults, one, ';');) {
    auto fault = std::make_unique<Fault>(parse(one));
    if (fault->rank_ == rank) return fault;
  }
  return nullptr;
}

Fault Fault::parse(const std::string& text) {
  Fault fault;
  std::istringstream parts(text);
  try {
    for (std::string part; std::getline(parts, part, ',');) {
      const std::size_t equals = std::min(part.find('='), part.size());
      fault.set(part.substr(0, equals), part.substr(std::min(equals + 1, part.size())));
    }
  } catch (const std::exception&) {
    throw UsageError("GSPLIT_FAULT: '" + text + "' cannot be read",
                     "unset it, or see runtime/control/fault.h");
  }
  return fault;
}

void Fault::set(const std::string& name, const std::string& value) {
  if (name == "rank") {
    rank_ = std::stoi(value);
  } else if (name == "phase") {
    phase_ = value;
  } else if (name == "step") {
    step_ = std::stoull(value);
  } else if (name == "signal") {
    kSignals.at(value);
    signal_ = value;
  } else if (name == "target") {
    if (value != "self" && value != "parent") throw std::invalid_argument(value);
    at_parent_ = value == "parent";
  } else if (name == "after") {
    after_ = std::chrono::duration<double>(std::stod(value));
  } else {
    throw std::invalid_argument(name);
  }
}

void Fault::enter(Phase phase, std::uint64_t step) {
  if (struck_ || step < step_ || phase_ != name_of(phase)) return;
  struck_ = true;
  std::this_thread::sleep_for(after_);
  strike();
}

void Fault::strike() const {
  if (signal_ == "exit") _exit(1);
  ::kill(at_parent_ ? getppid() : getpid(), kSignals.at(signal_));
}

}  // namespace gsplit
