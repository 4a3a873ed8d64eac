#include "runtime/train/trace_steps.h"

#include <algorithm>
#include <charconv>

#include "kernels/base/error.h"

namespace gsplit {
namespace {

/// 0 where it is no number above 0.
std::uint64_t parse_step(const std::string& text) {
  std::uint64_t step = 0;
  const char* const end = text.data() + text.size();
  const auto parsed = std::from_chars(text.data(), end, step);
  return parsed.ec == std::errc() && parsed.ptr == end ? step : 0;
}

/// 1, 2, 3, then a power of ten or three times one.
bool is_sampled(std::uint64_t step) {
  if (step <= 3) return step > 0;
  while (step % 10 == 0) step /= 10;
  return step == 1 || step == 3;
}

}  // namespace

TraceSteps::Range TraceSteps::parse_range(const std::string& text) {
  const std::size_t dash = text.find('-');
  const std::uint64_t first = parse_step(text.substr(0, dash));
  const std::uint64_t last = dash == std::string::npos ? first : parse_step(text.substr(dash + 1));
  if (first == 0 || last < first) {
    throw UsageError("--trace-steps: '" + text + "' is neither a step nor a range of steps",
                     "give auto, none, all, or steps such as 1-3,100");
  }
  return {first, last};
}

TraceSteps TraceSteps::parse(const std::string& text) {
  TraceSteps steps;
  if (text == "auto") steps.kind_ = Kind::kAuto;
  if (text == "all") steps.kind_ = Kind::kAll;
  if (text == "auto" || text == "all" || text == "none") return steps;
  for (std::size_t begin = 0; begin <= text.size();) {
    const std::size_t end = std::min(text.find(',', begin), text.size());
    steps.ranges_.push_back(parse_range(text.substr(begin, end - begin)));
    begin = end + 1;
  }
  return steps;
}

bool TraceSteps::contains(std::uint64_t step, std::uint64_t first) const {
  if (kind_ == Kind::kAll) return true;
  if (kind_ == Kind::kAuto) return step >= first && is_sampled(step - first + 1);
  return std::any_of(ranges_.begin(), ranges_.end(), [step](const Range& range) {
    return range.first <= step && step <= range.last;
  });
}

}  // namespace gsplit
