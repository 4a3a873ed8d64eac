// Where progress and warnings go: handed down, never global.
#pragma once

#include <functional>
#include <string>

namespace gsplit {

/// Both may be empty. `info` ends on stdout, `warning` on stderr; one line each, without a line
/// break.
struct Log {
  std::function<void(const std::string&)> info_sink;
  std::function<void(const std::string&)> warning_sink;

  void info(const std::string& line) const {
    if (info_sink) info_sink(line);
  }
  void warning(const std::string& line) const {
    if (warning_sink) warning_sink(line);
  }
};

}  // namespace gsplit
