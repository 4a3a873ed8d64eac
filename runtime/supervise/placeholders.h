// {name} in what a user wrote.
#pragma once

#include <map>
#include <string>

namespace gsplit {

/// `text` with each {name} replaced whose name is in `values`; other braces stay.
inline std::string fill(std::string text, const std::map<std::string, std::string>& values) {
  for (const auto& [name, value] : values) {
    const std::string placeholder = "{" + name + "}";
    for (std::size_t at = text.find(placeholder); at != text.npos;
         at = text.find(placeholder, at + value.size())) {
      text.replace(at, placeholder.size(), value);
    }
  }
  return text;
}

}  // namespace gsplit
