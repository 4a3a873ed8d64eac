// {name} in what a user wrote.
#pragma once

#include <map>
#include <string>

namespace gsplit {

/// `text` with each {name} replaced whose name is in `values`; other braces stay.
inline std::string fill(std::string text, const std::map<std::string, std::string>& values) {
  for (const auto& [name, value] : values) {
    const std::string braced = "{" + name + "}";
    for (std::size_t at = text.find(braced); at != text.npos;
         at = text.find(braced, at + value.size())) {
      text.replace(at, braced.size(), value);
    }
  }
  return text;
}

}  // namespace gsplit
