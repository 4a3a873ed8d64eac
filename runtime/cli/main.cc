// The gsplit executable: parses the command line, runs one command, prints a failure as one line.
#include <omp.h>
#include <sched.h>
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <cstdlib>
#include <iostream>
#include <string>
#include <string_view>
#include <vector>

#include "comm/world.h"
#include "runtime/cli/command.h"
#include "runtime/cli/completion_command.h"
#include "runtime/cli/manual_command.h"
#include "runtime/cli/yaml_config.h"

namespace {

/// Option names may be written with underscores: --batch_size is --batch-size. --config is
/// expanded. What stands behind `--` is another program's.
std::vector<std::string> normalize(int argc, char** argv) {
  const auto others = std::find(argv + 1, argv + argc, std::string_view("--"));
  std::vector<std::string> arguments(argv + 1, others);
  for (std::string& argument : arguments) {
    if (!argument.starts_with("--")) continue;
    const auto end = argument.begin() +
                     static_cast<std::ptrdiff_t>(std::min(argument.find('='), argument.size()));
    std::replace(argument.begin(), end, '_', '-');
  }
  arguments = gsplit::expand_config(std::move(arguments));
  arguments.insert(arguments.end(), others, argv + argc);
  std::reverse(arguments.begin(), arguments.end());  // the order that CLI11 parses a vector in
  return arguments;
}

/// The processors that OpenMP's places are made of: those that the process had before OpenMP bound
/// its first thread to one of them.
cpu_set_t processors_of_places() {
  cpu_set_t processors;
  CPU_ZERO(&processors);
  for (int place = 0; place < omp_get_num_places(); ++place) {
    std::vector<int> ids(static_cast<std::size_t>(omp_get_place_num_procs(place)));
    omp_get_place_proc_ids(place, ids.data());
    for (const int id : ids) CPU_SET(static_cast<std::size_t>(id), &processors);
  }
  return processors;
}

/// Settings of OpenMP under which workers get in each other's way. Threads that wait shall sleep:
/// workers of one host share its cores, and a spinning thread takes one from a worker that
/// computes. And threads shall not be bound: every worker would be bound to the same first cores.
/// The library reads its settings when it is loaded, hence the restart with the settings made.
void settle_openmp(char** argv) {
  const bool bound = std::getenv("OMP_PROC_BIND") != nullptr ||
                     std::getenv("OMP_PLACES") != nullptr ||
                     std::getenv("GOMP_CPU_AFFINITY") != nullptr;
  if (std::getenv("OMP_WAIT_POLICY") != nullptr && !bound) return;
  if (bound) {
    for (const char* name : {"OMP_PROC_BIND", "OMP_PLACES", "GOMP_CPU_AFFINITY"}) unsetenv(name);
    const cpu_set_t processors = processors_of_places();
    if (CPU_COUNT(&processors) > 0) sched_setaffinity(0, sizeof(processors), &processors);
  }
  setenv("OMP_WAIT_POLICY", "passive", 0);
  execv("/proc/self/exe", argv);  // returns only where it is not possible; then it stays as it is
}

/// The command line is wrong. All ranks of a job find that; the first one says it.
gsplit::UsageError misused(const std::string& what, const std::string& remedy) {
  if (gsplit::launcher_rank() != 0) return gsplit::UsageError("");
  return gsplit::UsageError(what, remedy);
}

int run(int argc, char** argv) {
  CLI::App app{"gsplit: split-parallel mini-batch training of graph neural networks", "gsplit"};
  app.set_version_flag("--version", "gsplit " GSPLIT_VERSION);
  app.require_subcommand(1);
  app.option_defaults()->always_capture_default();
  gsplit::Action action;
  gsplit::add_generate_command(app, action);
  gsplit::add_import_command(app, action);
  gsplit::add_inspect_command(app, action);
  gsplit::add_partition_command(app, action);
  gsplit::add_train_command(app, action);
  gsplit::add_infer_command(app, action);
  gsplit::add_evaluate_command(app, action);
  gsplit::add_report_command(app, action);
  gsplit::add_status_commands(app, action);
  gsplit::add_coordinator_command(app, action);
  gsplit::add_doctor_command(app, action);
  gsplit::add_bench_command(app, action);
  gsplit::add_completion_command(app, action);
  gsplit::add_manual_command(app, action);
  gsplit::add_supervise_command(app, action);
  try {
    app.parse(normalize(argc, argv));
  } catch (const CLI::Success& success) {
    return app.exit(success);
  } catch (const CLI::ParseError& error) {
    throw misused(error.what(), "see gsplit --help");
  } catch (const gsplit::UsageError& error) {
    throw misused(error.what(), "");
  }
  return static_cast<int>(action());
}

/// In one write, so that a launcher that says something too does not come in between.
void say_failure(const std::exception& error) {
  std::cerr << "gsplit: " + std::string(error.what()) + "\n" << std::flush;
}

/// The end after an error without the destructors of libraries: MPI's must not wait for peers that
/// are gone.
[[noreturn]] void leave(gsplit::ExitCode code) {
  std::cout.flush();
  _exit(static_cast<int>(code));
}

}  // namespace

int main(int argc, char** argv) {
  settle_openmp(argv);
  try {
    return run(argc, argv);
  } catch (const gsplit::Error& error) {
    // Without a text another rank has the word.
    if (*error.what() != '\0') say_failure(error);
    leave(error.code());
  } catch (const std::exception& error) {
    say_failure(error);
    leave(gsplit::ExitCode::kSystem);
  }
}
