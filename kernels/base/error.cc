#include "kernels/base/error.h"

#include <algorithm>

namespace gsplit {
namespace {

std::string one_line(std::string text) {
  std::replace_if(
      text.begin(), text.end(), [](char c) { return c == '\n' || c == '\r'; }, ' ');
  return text;
}

std::string sentence(const std::string& what, const std::string& remedy) {
  return one_line(remedy.empty() ? what : what + "; " + remedy);
}

}  // namespace

Error::Error(ExitCode code, const std::string& what, const std::string& remedy)
    : std::runtime_error(sentence(what, remedy)), code_(code) {}

void detail::check_failed(const char* condition, const char* file, int line) {
  throw InternalError("internal error: " + std::string(condition) + " does not hold at " + file +
                      ":" + std::to_string(line) + "; this is a defect of gsplit");
}

}  // namespace gsplit
