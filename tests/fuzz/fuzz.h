// What the fuzz targets share. A target is one LLVMFuzzerTestOneInput, which gives the fuzzer's
// bytes to a parser and reads all that comes out of it. libFuzzer drives it (preset fuzz), or
// replay.cc over a corpus.
#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <map>
#include <span>
#include <string>
#include <string_view>

#include "graph/npy.h"
#include "kernels/base/error.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size);

namespace gsplit::fuzz {

inline std::string_view text_of(const std::uint8_t* data, std::size_t size) {
  return {reinterpret_cast<const char*>(data), size};
}

/// A directory for the files that parsers open, removed at the end. In TMPDIR: set it to a tmpfs.
const std::filesystem::path& scratch();

/// Writes `bytes` as the file `name` of scratch(), again for every input.
std::filesystem::path write_input(const std::string& name, std::string_view bytes);

/// Several files in one input, each after a line "==> NAME <==", as `head` prints them. What stands
/// before the first such line is dropped.
std::map<std::string, std::string> split_files(std::string_view input);

/// Fails where a message is more than one line of readable length.
void check_message(std::string_view message);

/// Calls parse(). The documented end for bad input is a UsageError of one line; whatever else is
/// thrown ends the process, which is a finding.
template <class F>
void accept_or_refuse(F&& parse) {
  try {
    parse();
  } catch (const UsageError& error) {
    check_message(error.what());
  }
}

/// Reads every byte, so that a span that reaches beyond its memory shows.
void touch(std::span<const std::byte> bytes);
template <class T>
void touch(std::span<const T> values) {
  touch(std::as_bytes(values));
}
/// Reads the array as its shape and its type say.
void touch(const NpyArray& array);

}  // namespace gsplit::fuzz
