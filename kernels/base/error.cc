#include "kernels/base/error.h"

namespace gsplit {
namespace {

constexpr std::size_t kLongest = 4096;

/// A part of a message may come from a damaged file: no line breaks, nothing that a terminal would
/// obey, and never longer than a screen.
std::string one_line(std::string text) {
  if (text.size() > kLongest) text = text.substr(0, kLongest) + "...";
  for (char& c : text) {
    if (c == '\n' || c == '\r' || c == '\t') c = ' ';
    if (static_cast<unsigned char>(c) < 0x20 || c == 0x7f) c = '?';
  }
  return text;
}

std::string sentence(const std::string& what, const std::string& remedy) {
  return remedy.empty() ? one_line(what) : one_line(what) + "; " + one_line(remedy);
}

}  // namespace

Error::Error(ExitCode code, const std::string& what, const std::string& remedy)
    : std::runtime_error(sentence(what, remedy)), code_(code) {}

void detail::check_failed(const char* condition, const char* file, int line) {
  throw InternalError("internal error: " + std::string(condition) + " does not hold at " + file +
                      ":" + std::to_string(line) + "; this is a defect of gsplit");
}

}  // namespace gsplit
