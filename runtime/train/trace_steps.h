// Which steps of a run are traced: --trace-steps.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace gsplit {

class TraceSteps {
 public:
  /// "auto": the first three steps that this process makes, then the 10th, 30th, 100th, 300th, ...;
  /// "none"; "all"; or steps and ranges of them, such as 1-3,100. UsageError otherwise.
  static TraceSteps parse(const std::string& text);

  /// `first`: the step that this process begins with.
  bool contains(std::uint64_t step, std::uint64_t first) const;
  bool none() const { return kind_ == Kind::kListed && ranges_.empty(); }

 private:
  enum class Kind { kAuto, kAll, kListed };
  struct Range {
    std::uint64_t first = 0;
    std::uint64_t last = 0;
  };
  static Range parse_range(const std::string& text);

  Kind kind_ = Kind::kListed;
  std::vector<Range> ranges_;
};

}  // namespace gsplit
