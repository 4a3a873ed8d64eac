#include "runtime/cli/log.h"

#include <spdlog/sinks/stdout_sinks.h>
#include <spdlog/spdlog.h>

#include <memory>

namespace gsplit {
namespace {

std::shared_ptr<spdlog::logger> logger_to(spdlog::sink_ptr sink, const char* pattern) {
  auto logger = std::make_shared<spdlog::logger>("gsplit", std::move(sink));
  logger->set_pattern(pattern);
  logger->flush_on(spdlog::level::info);
  return logger;
}

}  // namespace

Log make_log(bool quiet) {
  const auto out = logger_to(std::make_shared<spdlog::sinks::stdout_sink_mt>(), "%H:%M:%S %v");
  const auto err =
      logger_to(std::make_shared<spdlog::sinks::stderr_sink_mt>(), "gsplit: warning: %v");
  Log log;
  if (!quiet) log.info_sink = [out](const std::string& line) { out->info("{}", line); };
  log.warning_sink = [err](const std::string& line) { err->warn("{}", line); };
  return log;
}

}  // namespace gsplit
