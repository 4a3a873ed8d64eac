// .npy files: what NumPy writes is read, what we write reads back, and no damaged file crashes.
#include "graph/npy.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/stat.h>

#include <numeric>
#include <random>

#include "tests/graph/temporary_directory.h"

namespace gsplit {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;

/// A file as NumPy writes it, with a header of the test's choice.
std::string npy_bytes(std::string dictionary, const std::string& data, int version = 1) {
  const std::size_t prefix = version == 1 ? 10 : 12;
  while ((prefix + dictionary.size() + 1) % 64 != 0) dictionary += ' ';
  dictionary += '\n';
  std::string file = "\x93NUMPY";
  file += static_cast<char>(version);
  file += '\0';
  for (std::size_t i = 0; i < prefix - 8; ++i) {
    file += static_cast<char>((dictionary.size() >> (8 * i)) & 0xFF);
  }
  return file + dictionary + data;
}

std::string dictionary(const std::string& descr, const std::string& shape,
                       const std::string& fortran = "False") {
  return "{'descr': '" + descr + "', 'fortran_order': " + fortran + ", 'shape': " + shape + ", }";
}

class NpyTest : public testing::Test {
 protected:
  NpyArray open(const std::string& content) {
    write_file(file_, content);
    return NpyArray::open(file_);
  }

  /// Expects a refusal that names the file and contains `part`.
  void expect_refused(const std::string& content, const std::string& part) {
    write_file(file_, content);
    try {
      NpyArray::open(file_);
      ADD_FAILURE() << "accepted, expected: " << part;
    } catch (const UsageError& error) {
      EXPECT_THAT(error.what(), HasSubstr(file_.string()));
      EXPECT_THAT(error.what(), HasSubstr(part));
      EXPECT_THAT(error.what(), HasSubstr("; ")) << "no remedy";
    }
  }

  TemporaryDirectory directory_;
  std::filesystem::path file_ = directory_ / "a.npy";
};

template <class T>
class NpyRoundTrip : public testing::Test {};
using ElementTypes =
    testing::Types<float, double, std::int8_t, std::int16_t, std::int32_t, std::int64_t,
                   std::uint8_t, std::uint16_t, std::uint32_t, std::uint64_t>;
TYPED_TEST_SUITE(NpyRoundTrip, ElementTypes);

TYPED_TEST(NpyRoundTrip, KeepsTypeShapeAndValues) {
  const TemporaryDirectory directory;
  const auto path = directory / "a.npy";
  std::vector<TypeParam> values(60);
  std::iota(values.begin(), values.end(), TypeParam{1});
  write_npy<TypeParam>(path, values, {3, 4, 5});
  const NpyArray array = NpyArray::open(path);
  EXPECT_EQ(array.type(), npy_type_of<TypeParam>::value);
  EXPECT_THAT(array.shape(), ElementsAre(3, 4, 5));
  EXPECT_EQ(array.num_elements(), 60u);
  const auto read = array.as<TypeParam>();
  EXPECT_TRUE(std::equal(read.begin(), read.end(), values.begin(), values.end()));
  EXPECT_EQ((read_file(path).size() - 60 * sizeof(TypeParam)) % 64, 0u);
}

TEST_F(NpyTest, ReadsWhatNumPyWrites) {
  const NpyArray array = open(npy_bytes(dictionary("<i4", "(2,)"), {"\1\0\0\0\2\0\0\0", 8}));
  EXPECT_THAT(array.as<std::int32_t>(), ElementsAre(1, 2));
  EXPECT_EQ(open(npy_bytes(dictionary("|b1", "(3,)"), "\1\1\1")).type().name(), "b1");
  for (const char* descr : {"<V2", "|V2"}) {  // an array of ml_dtypes.bfloat16; its bits as NumPy's
    const NpyArray brain = open(npy_bytes(dictionary(descr, "(2,)"), {"\x80\x3f\x40\xc0", 4}));
    EXPECT_EQ(brain.type().name(), "bf16");
    EXPECT_EQ(to_float(brain.as<BFloat16>()[0]), 1);
    EXPECT_EQ(to_float(brain.as<BFloat16>()[1]), -3);
  }
  EXPECT_EQ(open(npy_bytes(dictionary("<f2", "()"), "ab")).num_elements(), 1u);
  EXPECT_EQ(open(npy_bytes(dictionary("<f2", "(0, 7)"), "")).num_elements(), 0u);
  EXPECT_THAT(open(npy_bytes(dictionary("<f2", "(2L, 1L)"), "abcd")).shape(), ElementsAre(2, 1));
  for (const int version : {2, 3}) {
    EXPECT_EQ(open(npy_bytes(dictionary("|u1", "(1,)"), "x", version)).num_elements(), 1u);
  }
  const std::string other_order = "{\"shape\":(1,),\"fortran_order\":False,\"descr\":\"|i1\"}";
  EXPECT_EQ(open(npy_bytes(other_order, "x")).type().name(), "i1");
}

TEST_F(NpyTest, HeaderIsAsNumPyWritesIt) {
  write_npy<std::int32_t>(file_, std::vector<std::int32_t>{1, 2}, {2});
  EXPECT_EQ(read_file(file_), npy_bytes(dictionary("<i4", "(2,)"), {"\1\0\0\0\2\0\0\0", 8}));
}

TEST_F(NpyTest, BFloat16IsWrittenAsNumPysExtensionWritesIt) {
  write_npy<BFloat16>(file_, std::vector<BFloat16>{{0x3F80}, {0xC040}}, {2});
  EXPECT_EQ(read_file(file_), npy_bytes(dictionary("<V2", "(2,)"), {"\x80\x3f\x40\xc0", 4}));
}

TEST_F(NpyTest, RefusesWhatItCannotRead) {
  expect_refused("", "is empty");
  expect_refused("PK\3\4 a zip file", "not an npy file");
  expect_refused(npy_bytes(dictionary("|O", "(1,)"), "12345678"), "objects");
  expect_refused(npy_bytes(dictionary(">f4", "(1,)"), "1234"), "big endian");
  expect_refused(npy_bytes(dictionary(">V2", "(1,)"), "12"), "big endian");
  expect_refused(npy_bytes(dictionary("|V4", "(1,)"), "1234"), "not supported");
  expect_refused(npy_bytes(dictionary("<f4", "(1,)", "True"), "1234"), "Fortran");
  expect_refused(npy_bytes(dictionary("<c8", "(1,)"), "12345678"), "not supported");
  expect_refused(npy_bytes(dictionary("<f16", "(1,)"), std::string(16, 'x')), "not supported");
  expect_refused(
      npy_bytes("{'descr': [('a', '<i4')], 'fortran_order': False, 'shape': (1,)}", "1234"),
      "structured");
  expect_refused(npy_bytes(dictionary("<f4", "(1,)"), "1234", 4), "version 4");
}

TEST_F(NpyTest, RefusesHeadersThatLieAboutTheShape) {
  expect_refused(npy_bytes(dictionary("<f4", "(2,)"), "1234"), "truncated");
  expect_refused(npy_bytes(dictionary("<f4", "(2,)"), "123456789"), "too long");
  // 4 x 2^62 wraps to 0 in 64 bits, 4 x 2^62 + 4 to 4.
  expect_refused(npy_bytes(dictionary("<f4", "(4611686018427387904,)"), ""), "truncated");
  expect_refused(npy_bytes(dictionary("<f4", "(4611686018427387905,)"), "1234"), "truncated");
  expect_refused(npy_bytes(dictionary("<f4", "(99999999999999999999999,)"), "1234"), "malformed");
  expect_refused(npy_bytes(dictionary("<f4", "(-1,)"), "1234"), "malformed");
}

TEST_F(NpyTest, RefusesMalformedHeaders) {
  for (const char* header :
       {"", "{", "{}", "[]", "{'descr'", "{'descr': '<f4'}", "{'descr': '<f4', 'shape': (1,)}",
        "{'descr': '<f4', 'fortran_order': False, 'shape': (1,)} x",
        "{'descr': '<f4', 'descr': '<f4', 'fortran_order': False, 'shape': (1,)}",
        "{'descr': '', 'fortran_order': False, 'shape': (1,)}",
        "{'descr': 'f4', 'fortran_order': False, 'shape': (1,)}",
        "{'descr': '|f4', 'fortran_order': False, 'shape': (1,)}",
        "{'descr': '<f4', 'fortran_order': Maybe, 'shape': (1,)}",
        "{'descr': '<f4', 'fortran_order': False, 'shape': (1 1)}",
        "{'descr': '<f4', 'fortran_order': False, 'shape': (,)}",
        "{'descr': '<f4', 'fortran_order': False, 'shape': (1,), 'x': 'y'}"}) {
    SCOPED_TRACE(header);
    write_file(file_, npy_bytes(header, "1234"));
    EXPECT_THROW(NpyArray::open(file_), UsageError);
  }
}

TEST_F(NpyTest, RefusesEveryProperPrefix) {
  const std::string whole = npy_bytes(dictionary("<i8", "(2, 3)"), std::string(48, 'x'), 2);
  for (std::size_t length = 0; length < whole.size(); ++length) {
    write_file(file_, whole.substr(0, length));
    EXPECT_THROW(NpyArray::open(file_), UsageError) << "prefix of " << length;
  }
  EXPECT_NO_THROW(open(whole));
}

TEST_F(NpyTest, DamageIsRefusedOrHarmless) {
  const std::string whole = npy_bytes(dictionary("<i4", "(2, 3)"), std::string(24, 'x'));
  std::mt19937 random(1);
  for (int i = 0; i < 3000; ++i) {
    std::string damaged = whole;
    for (int j = 0; j < 3; ++j) damaged[random() % 96] = static_cast<char>(random());
    write_file(file_, damaged);
    try {
      const NpyArray array = NpyArray::open(file_);
      EXPECT_EQ(array.num_elements() * array.type().bytes, array.bytes().size());
    } catch (const UsageError&) {
    }
  }
}

TEST_F(NpyTest, RefusesUnalignedData) {
  std::string header = dictionary("<i4", "(1,)") + " ";
  while ((10 + header.size()) % 4 != 1) header += ' ';
  const std::string length{static_cast<char>(header.size()), '\0'};
  expect_refused(std::string("\x93NUMPY\x01") + '\0' + length + header + "1234", "unaligned");
}

TEST_F(NpyTest, NamesTheTypeItFindsAndTheOneItWants) {
  const NpyArray array = open(npy_bytes(dictionary("<f8", "(1,)"), "12345678"));
  try {
    array.as<float>();
    FAIL();
  } catch (const UsageError& error) {
    EXPECT_THAT(error.what(), HasSubstr("holds f8, expected f4"));
  }
  EXPECT_THROW(array.visit_integers([](auto) {}), UsageError);
}

TEST_F(NpyTest, VisitsIntegersInTheirOwnType) {
  const NpyArray array = open(npy_bytes(dictionary("<u2", "(2,)"), {"\1\0\xff\xff", 4}));
  std::uint64_t sum = 0;
  array.visit_integers([&](auto values) {
    for (const auto value : values) sum += static_cast<std::uint64_t>(value);
  });
  EXPECT_EQ(sum, 65536u);
}

TEST_F(NpyTest, WriterWritesInPlace) {
  NpyWriter writer(file_, {'f', 4}, {2});
  writer.as<float>()[1] = 7;
  EXPECT_THROW(writer.as<double>(), InternalError);
  writer.close();
  EXPECT_THAT(NpyArray::open(file_).as<float>(), ElementsAre(0, 7));
}

TEST_F(NpyTest, MovedArrayStaysReadable) {
  NpyArray first = open(npy_bytes(dictionary("|u1", "(1,)"), "A"));
  const NpyArray second = std::move(first);
  EXPECT_THAT(second.as<std::uint8_t>(), ElementsAre('A'));
}

TEST_F(NpyTest, RefusesWhatIsNoFile) {
  EXPECT_THROW(NpyArray::open(directory_ / "absent.npy"), UsageError);
  EXPECT_THROW(NpyArray::open(directory_.path()), UsageError);
  ASSERT_EQ(::mkfifo((directory_ / "pipe").c_str(), 0600), 0);
  EXPECT_THROW(NpyArray::open(directory_ / "pipe"), UsageError);
}

TEST_F(NpyTest, CannotCreateIsASystemError) {
  EXPECT_THROW(NpyWriter(directory_ / "absent" / "a.npy", {'f', 4}, {1}), SystemError);
  EXPECT_THROW(MappedFile::create(file_, std::size_t{1} << 62), SystemError);
  EXPECT_FALSE(std::filesystem::exists(file_));
}

}  // namespace
}  // namespace gsplit
