#include "graph/npy.h"

#include <cctype>
#include <charconv>
#include <cstring>
#include <limits>
#include <optional>
#include <string_view>

namespace gsplit {
namespace {

constexpr std::string_view kMagic = "\x93NUMPY";
constexpr std::size_t kDataAlignment = 64;
constexpr std::size_t kMostDimensions = 64;  // as NumPy
constexpr const char* kSaveAgain =
    "write it again with numpy.save(path, numpy.ascontiguousarray(a))";

[[noreturn]] void refuse(const std::filesystem::path& file, const std::string& fault,
                         const std::string& remedy = kSaveAgain) {
  throw UsageError(file.string() + " " + fault, remedy);
}

struct NpyHeader {
  NpyType type;
  std::vector<std::uint64_t> shape;
};

/// Reads the Python literal {'descr': '<f4', 'fortran_order': False, 'shape': (3, 4), }, keys in
/// any order.
class HeaderParser {
 public:
  HeaderParser(std::string_view text, const std::filesystem::path& file)
      : text_(text), file_(file) {}

  NpyHeader parse() {
    expect('{');
    while (!accept('}')) {
      parse_entry();
      if (!accept(',')) {
        expect('}');
        break;
      }
    }
    skip_space();
    if (at_ != text_.size() || !descr_ || !fortran_order_ || !shape_) malformed();
    if (*fortran_order_) refuse(file_, "is in Fortran order");
    return {parse_type(*descr_), *std::move(shape_)};
  }

 private:
  [[noreturn]] void malformed() const { refuse(file_, "has a malformed npy header"); }

  void skip_space() {
    while (at_ < text_.size() && std::isspace(static_cast<unsigned char>(text_[at_]))) ++at_;
  }
  bool accept(char c) {
    skip_space();
    if (at_ == text_.size() || text_[at_] != c) return false;
    ++at_;
    return true;
  }
  void expect(char c) {
    if (!accept(c)) malformed();
  }

  std::string parse_string() {
    skip_space();
    if (at_ == text_.size() || (text_[at_] != '\'' && text_[at_] != '"')) malformed();
    const std::size_t end = text_.find(text_[at_], at_ + 1);
    if (end == std::string_view::npos) malformed();
    std::string value(text_.substr(at_ + 1, end - at_ - 1));
    at_ = end + 1;
    return value;
  }

  bool parse_bool() {
    skip_space();
    for (const auto& [word, value] : {std::pair{"True", true}, std::pair{"False", false}}) {
      if (text_.substr(at_).starts_with(word)) {
        at_ += std::strlen(word);
        return value;
      }
    }
    malformed();
  }

  std::uint64_t parse_dimension() {
    skip_space();
    std::uint64_t value = 0;
    const auto [end, error] =
        std::from_chars(text_.data() + at_, text_.data() + text_.size(), value);
    if (error != std::errc{}) malformed();
    at_ = static_cast<std::size_t>(end - text_.data());
    if (at_ < text_.size() && text_[at_] == 'L') ++at_;  // NumPy under Python 2
    return value;
  }

  std::vector<std::uint64_t> parse_shape() {
    std::vector<std::uint64_t> shape;
    expect('(');
    while (!accept(')')) {
      if (shape.size() == kMostDimensions) malformed();
      shape.push_back(parse_dimension());
      if (!accept(',')) {
        expect(')');
        break;
      }
    }
    return shape;
  }

  void parse_entry() {
    const std::string key = parse_string();
    expect(':');
    if (key == "descr" && !descr_) {
      skip_space();
      if (at_ < text_.size() && text_[at_] == '[') refuse(file_, "holds a structured array");
      descr_ = parse_string();
    } else if (key == "fortran_order" && !fortran_order_) {
      fortran_order_ = parse_bool();
    } else if (key == "shape" && !shape_) {
      shape_ = parse_shape();
    } else {
      malformed();
    }
  }

  NpyType parse_type(const std::string& descr) const {
    if (descr.size() < 2) malformed();
    if (descr[1] == 'O') {
      refuse(file_, "holds Python objects (dtype object)", "save it with a numeric dtype");
    }
    static constexpr std::string_view kSupported[] = {"f2", "f4", "f8", "i1", "i2", "i4", "i8",
                                                      "u1", "u2", "u4", "u8", "b1", "V2"};
    const std::string_view name = std::string_view(descr).substr(1);
    if (std::find(std::begin(kSupported), std::end(kSupported), name) == std::end(kSupported)) {
      refuse(file_, "has dtype " + descr + ", which is not supported",
             "save it as f2 f4 f8, bf16, i1..i8, u1..u8 or bool");
    }
    const NpyType type{name[0], static_cast<std::size_t>(name[1] - '0')};
    if (descr[0] == '>' && type.bytes > 1) {
      refuse(file_, "is big endian (dtype " + descr + ")",
             "save it as little endian: a.astype('<" + type.name() + "')");
    }
    const bool no_order = type.bytes == 1 || (type.kind == 'V' && descr[0] == '|');
    if (descr[0] != '<' && !no_order) malformed();
    return type;
  }

  std::string_view text_;
  const std::filesystem::path& file_;
  std::size_t at_ = 0;
  std::optional<std::string> descr_;
  std::optional<bool> fortran_order_;
  std::optional<std::vector<std::uint64_t>> shape_;
};

std::string_view text_of(std::span<const std::byte> bytes) {
  return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}

struct Sections {
  std::string_view header;
  std::span<const std::byte> data;
};

/// Splits a file by its magic, version and header length.
Sections split_file(std::span<const std::byte> bytes, const std::filesystem::path& file) {
  const std::string_view text = text_of(bytes);
  if (!text.starts_with(kMagic)) {
    refuse(file, text.empty() ? "is empty" : "is not an npy file",
           "give a file written by numpy.save");
  }
  const std::size_t prefix = kMagic.size() + 2;
  if (text.size() < prefix) refuse(file, "is truncated inside its header");
  const int version = static_cast<unsigned char>(text[kMagic.size()]);
  if (version < 1 || version > 3) {
    refuse(file, "has npy format version " + std::to_string(version) + ", known are 1 to 3");
  }
  const std::size_t length_bytes = version == 1 ? 2 : 4;
  if (text.size() < prefix + length_bytes) refuse(file, "is truncated inside its header");
  std::uint32_t length = 0;  // the format and gsplit's hosts are little endian
  std::memcpy(&length, bytes.data() + prefix, length_bytes);
  const std::size_t begin = prefix + length_bytes;
  if (bytes.size() - begin < length) refuse(file, "is truncated inside its header");
  return {text.substr(begin, length), bytes.subspan(begin + length)};
}

/// Bytes of an array, or nothing where they do not fit 64 bits.
std::optional<std::uint64_t> array_bytes(NpyType type, const std::vector<std::uint64_t>& shape) {
  std::uint64_t bytes = type.bytes;
  if (std::find(shape.begin(), shape.end(), 0u) != shape.end()) return 0;
  for (const std::uint64_t dimension : shape) {
    if (__builtin_mul_overflow(bytes, dimension, &bytes)) return std::nullopt;
  }
  return bytes;
}

std::string shape_text(const std::vector<std::uint64_t>& shape) {
  std::string text = "(";
  for (const std::uint64_t dimension : shape) text += std::to_string(dimension) + ",";
  if (shape.size() > 1) text.pop_back();
  return text + ")";
}

void check_size(const NpyHeader& header, std::span<const std::byte> data,
                const std::filesystem::path& file) {
  const auto expected = array_bytes(header.type, header.shape);
  if (expected && *expected == data.size()) return;
  const std::string promise = expected ? std::to_string(*expected) : "more than 2^64";
  const char* fault = !expected || data.size() < *expected ? "is truncated" : "is too long";
  refuse(file,
         fault + std::string(": its header says ") + header.type.name() + shape_text(header.shape) +
             ", " + promise + " bytes, and " + std::to_string(data.size()) + " follow",
         "copy or write it again");
}

}  // namespace

std::string NpyType::name() const { return kind == 'V' ? "bf16" : kind + std::to_string(bytes); }

std::string npy_header(NpyType type, const std::vector<std::uint64_t>& shape) {
  const std::string order = type.bytes == 1 ? "|" : "<";
  std::string dictionary = "{'descr': '" + order + type.kind + std::to_string(type.bytes) +
                           "', 'fortran_order': False, 'shape': " + shape_text(shape) + ", }";
  const std::size_t prefix = kMagic.size() + 4;
  const std::size_t unpadded = prefix + dictionary.size() + 1;
  dictionary.append((kDataAlignment - unpadded % kDataAlignment) % kDataAlignment, ' ');
  dictionary += '\n';
  GSPLIT_CHECK(dictionary.size() <= std::numeric_limits<std::uint16_t>::max());
  std::string header(kMagic);
  header += {'\x01', '\x00', static_cast<char>(dictionary.size() & 0xFF),
             static_cast<char>(dictionary.size() >> 8)};
  return header + dictionary;
}

NpyArray NpyArray::open(const std::filesystem::path& path, const std::filesystem::path& shown_as) {
  NpyArray array;
  array.path_ = shown_as;
  array.file_ = MappedFile::open(path);
  const Sections sections = split_file(array.file_.bytes(), shown_as);
  NpyHeader header = HeaderParser(sections.header, shown_as).parse();
  check_size(header, sections.data, shown_as);
  // The format promises alignment; as<T>() relies on it.
  if (reinterpret_cast<std::uintptr_t>(sections.data.data()) % header.type.bytes != 0) {
    refuse(shown_as, "holds unaligned data");
  }
  array.type_ = header.type;
  array.shape_ = std::move(header.shape);
  array.data_ = sections.data;
  return array;
}

std::uint64_t NpyArray::num_elements() const { return data_.size() / type_.bytes; }

void NpyArray::require_type(NpyType expected) const {
  if (type_ == expected) return;
  refuse(path_, "holds " + type_.name() + ", expected " + expected.name(),
         "save it with dtype " + expected.name());
}

void NpyArray::require_kind(char kind, const char* what) const {
  if (type_.kind == kind) return;
  refuse(path_, "holds " + type_.name() + ", expected " + what, "save it with an integer dtype");
}

NpyWriter::NpyWriter(const std::filesystem::path& path, NpyType type,
                     std::vector<std::uint64_t> shape)
    : type_(type) {
  const auto bytes = array_bytes(type, shape);
  GSPLIT_CHECK(bytes && *bytes <= std::numeric_limits<std::int64_t>::max());
  const std::string header = npy_header(type, shape);
  file_ = MappedFile::create(path, header.size() + *bytes);
  std::memcpy(file_.writable_bytes().data(), header.data(), header.size());
  data_ = file_.writable_bytes().subspan(header.size());
}

void NpyWriter::close() {
  file_.sync();
  file_ = MappedFile();
  data_ = {};
}

}  // namespace gsplit
