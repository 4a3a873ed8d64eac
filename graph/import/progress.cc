#include "graph/import/progress.h"

#include <fmt/format.h>

#include <utility>

namespace gsplit {
namespace {

constexpr std::chrono::seconds kBetweenLines{5};

}  // namespace

Progress::Progress(const Log& log, std::string unit) : log_(log), unit_(std::move(unit)) {}

void Progress::report(std::uint64_t count, double share) {
  const auto now = Clock::now();
  if (now - last_ < kBetweenLines) return;
  last_ = now;
  log_.info(fmt::format("read {} {}, {:.0f} %, {:.1f} M {}/s", count, unit_, 100 * share,
                        static_cast<double>(count) / seconds() / 1e6, unit_));
}

double Progress::seconds() const {
  return std::chrono::duration<double>(Clock::now() - start_).count();
}

}  // namespace gsplit
