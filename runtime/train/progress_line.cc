#include "runtime/train/progress_line.h"

#include <fmt/core.h>

#include <cstdio>

namespace gsplit {
namespace {

constexpr std::chrono::milliseconds kTerminalInterval{100};
constexpr std::chrono::seconds kPlainInterval{10};

std::string duration(double seconds) {
  const auto whole = static_cast<std::uint64_t>(seconds);
  return fmt::format("{}:{:02}:{:02}", whole / 3600, whole / 60 % 60, whole % 60);
}

}  // namespace

ProgressLine::ProgressLine(const ProgressRange& range, bool terminal, const Log& log)
    : range_(range), terminal_(terminal), log_(log) {}

void ProgressLine::step(std::uint64_t step, std::uint32_t epoch, double loss, std::uint64_t seeds) {
  seeds_ += seeds;
  const Clock::time_point now = Clock::now();
  if (now - last_ < (terminal_ ? kTerminalInterval : Clock::duration(kPlainInterval))) return;
  last_ = now;
  if (!terminal_) return log_.info(text(step, epoch, loss));
  fmt::print("\r\x1b[K{}", text(step, epoch, loss));
  std::fflush(stdout);
  drawn_ = true;
}

void ProgressLine::lasting(const std::string& line) {
  if (drawn_) {
    fmt::print("\r\x1b[K");
    std::fflush(stdout);
    drawn_ = false;
  }
  log_.info(line);
}

std::string ProgressLine::text(std::uint64_t step, std::uint32_t epoch, double loss) const {
  const double elapsed = std::chrono::duration<double>(Clock::now() - start_).count();
  const double remaining = elapsed * static_cast<double>(range_.total_steps - step) /
                           static_cast<double>(step + 1 - range_.first_step);
  return fmt::format("epoch {}/{}  step {}/{}  loss {:.4f}  {:.0f} seeds/s  ETA {}", epoch,
                     range_.epochs, step, range_.total_steps, loss,
                     static_cast<double>(seeds_) / elapsed, duration(remaining));
}

}  // namespace gsplit
