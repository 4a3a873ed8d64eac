#include "tests/fuzz/fuzz.h"

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <cstdlib>
#include <stdexcept>

#include "tests/graph/temporary_directory.h"

namespace gsplit::fuzz {
namespace {

constexpr std::size_t kLongestMessage = 5000;

void write_all(int file, std::string_view bytes) {
  while (!bytes.empty()) {
    const ssize_t done = ::write(file, bytes.data(), bytes.size());
    if (done <= 0) throw std::runtime_error("cannot write a scratch file; set TMPDIR");
    bytes.remove_prefix(static_cast<std::size_t>(done));
  }
}

/// The name in a line "==> NAME <==", or nothing.
std::string_view name_in(std::string_view line) {
  constexpr std::string_view kOpen = "==> ";
  constexpr std::string_view kClose = " <==";
  if (!line.starts_with(kOpen) || !line.ends_with(kClose)) return {};
  if (line.size() <= kOpen.size() + kClose.size()) return {};
  line.remove_prefix(kOpen.size());
  line.remove_suffix(kClose.size());
  return line;
}

}  // namespace

const std::filesystem::path& scratch() {
  static const TemporaryDirectory directory;
  return directory.path();
}

std::filesystem::path write_input(const std::string& name, std::string_view bytes) {
  std::filesystem::path path = scratch() / name;
  const int file = ::open(path.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
  if (file < 0) throw std::runtime_error("cannot create a scratch file; set TMPDIR");
  write_all(file, bytes);
  ::close(file);
  return path;
}

std::map<std::string, std::string> split_files(std::string_view input) {
  std::map<std::string, std::string> files;
  std::string* current = nullptr;
  while (!input.empty()) {
    const std::size_t length = std::min(input.find('\n'), input.size() - 1) + 1;
    const std::string_view line = input.substr(0, length);
    const std::string_view name = name_in(line.substr(0, line.find('\n')));
    if (!name.empty()) {
      current = &files[std::string(name)];
      current->clear();
    } else if (current != nullptr) {
      current->append(line);
    }
    input.remove_prefix(length);
  }
  // The line break before a head belongs to the head, so that binary files can be written down.
  for (auto& [name, content] : files) {
    if (!content.empty() && content.back() == '\n') content.pop_back();
  }
  return files;
}

void check_message(std::string_view message) {
  if (message.size() > kLongestMessage) throw std::logic_error("a message is too long");
  if (std::any_of(message.begin(), message.end(),
                  [](char c) { return (static_cast<unsigned char>(c) < 0x20) || c == 0x7f; })) {
    throw std::logic_error("a message holds a control character");
  }
}

void touch(std::span<const std::byte> bytes) {
  [[maybe_unused]] static volatile std::uint8_t sink = 0;
  std::uint8_t sum = 0;
  for (const std::byte byte : bytes)
    sum = static_cast<std::uint8_t>(sum + static_cast<std::uint8_t>(byte));
  sink = sum;
}

void touch(const NpyArray& array) {
  std::uint64_t elements = 1;
  for (const std::uint64_t dimension : array.shape()) elements *= dimension;
  GSPLIT_CHECK(elements == array.num_elements());
  GSPLIT_CHECK(elements * array.type().bytes == array.bytes().size());
  touch(array.bytes());
  if (array.type().kind == 'i' || array.type().kind == 'u') {
    array.visit_integers([](auto values) { touch(values); });
  }
}

}  // namespace gsplit::fuzz
