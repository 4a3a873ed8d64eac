// gsplit report.
#include <CLI/CLI.hpp>
#include <filesystem>
#include <iostream>
#include <memory>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "runtime/cli/command.h"
#include "runtime/report/digest_json.h"
#include "runtime/report/page.h"
#include "runtime/train/text_file.h"

namespace gsplit {
namespace {

namespace fs = std::filesystem;

struct ReportFlags {
  std::vector<std::string> run_dirs;
  std::string out;
  bool json = false;
};

std::vector<RunDigest> digests_of(const ReportFlags& flags) {
  std::vector<RunDigest> runs;
  for (const std::string& given : flags.run_dirs) {
    for (const fs::path& directory : runs_in(given)) runs.push_back(digest_run(directory));
  }
  tell_apart(runs);
  return runs;
}

fs::path page_of(const ReportFlags& flags) {
  if (!flags.out.empty()) return flags.out;
  if (flags.run_dirs.size() == 1) return fs::path(flags.run_dirs.front()) / "report.html";
  throw UsageError("a report of several runs belongs to none of their directories",
                   "say where it goes: --out FILE");
}

/// Under another name first, so that whoever looks never sees half a page.
void write_page(const fs::path& file, const std::string& html) {
  const fs::path draft = file.parent_path() / ("." + file.filename().string());
  write_text(draft, html);
  fs::rename(draft, file);
}

ExitCode report(const ReportFlags& flags) {
  const bool writes = !flags.json || !flags.out.empty();
  const fs::path file = writes ? page_of(flags) : fs::path();
  const std::vector<RunDigest> runs = digests_of(flags);
  if (writes) write_page(file, make_page(runs));
  if (flags.json) {
    std::cout << to_json(runs).dump(-1, ' ', false,
                                    nlohmann::ordered_json::error_handler_t::replace)
              << std::endl;
  } else {
    std::cout << file.string() << std::endl;
  }
  return ExitCode::kDone;
}

}  // namespace

void add_report_command(CLI::App& app, Action& action) {
  CLI::App* const command = app.add_subcommand(
      "report", "One page of HTML on runs: curves, times, loads, traffic, memory, what differs");
  const auto flags = std::make_shared<ReportFlags>();
  command->add_option("RUN_DIR", flags->run_dirs, "run directories, or those of --seeds")
      ->required();
  command->add_option("--out", flags->out, "the file to write; of one run: RUN_DIR/report.html");
  command->add_flag("--json", flags->json,
                    "print what the page shows as one JSON object; a page only with --out");
  command->callback([flags, &action] { action = [flags] { return report(*flags); }; });
}

}  // namespace gsplit
