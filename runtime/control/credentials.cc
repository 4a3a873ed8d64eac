#include "runtime/control/credentials.h"

#include <openssl/bio.h>
#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/rand.h>
#include <openssl/x509.h>
#include <openssl/x509v3.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>
#include <fstream>
#include <memory>
#include <sstream>

#include "kernels/base/error.h"
#include "runtime/control/secret_file.h"

namespace gsplit {
namespace {

template <class T, void (*release)(T*)>
struct Release {
  void operator()(T* object) const { release(object); }
};
void free_bio(BIO* bio) { BIO_free_all(bio); }

using Key = std::unique_ptr<EVP_PKEY, Release<EVP_PKEY, EVP_PKEY_free>>;
using Certificate = std::unique_ptr<X509, Release<X509, X509_free>>;
using Bio = std::unique_ptr<BIO, Release<BIO, free_bio>>;
using Extension = std::unique_ptr<X509_EXTENSION, Release<X509_EXTENSION, X509_EXTENSION_free>>;

constexpr std::size_t kTokenBytes = 32;
constexpr std::size_t kMinTokenLength = 32;
constexpr std::size_t kMaxTokenLength = 1024;

void require(bool done, const char* what) {
  if (!done) throw SystemError(std::string("OpenSSL cannot ") + what, "is its installation sound?");
}

std::string text_of(BIO* bio) {
  char* data = nullptr;
  const long length = BIO_get_mem_data(bio, &data);
  return {data, static_cast<std::size_t>(length)};
}

Bio make_bio() {
  Bio bio(BIO_new(BIO_s_mem()));
  require(bio != nullptr, "allocate memory");
  return bio;
}

void add_extension(X509* certificate, int id, const char* value) {
  X509V3_CTX context;
  X509V3_set_ctx_nodb(&context);
  X509V3_set_ctx(&context, certificate, certificate, nullptr, nullptr, 0);
  const Extension extension(X509V3_EXT_conf_nid(nullptr, &context, id, value));
  require(extension && X509_add_ext(certificate, extension.get(), -1) == 1, "make a certificate");
}

void set_random_serial(X509* certificate) {
  std::array<unsigned char, 8> bytes{};
  require(RAND_bytes(bytes.data(), static_cast<int>(bytes.size())) == 1, "draw random bytes");
  std::uint64_t serial = 0;
  std::memcpy(&serial, bytes.data(), bytes.size());
  ASN1_INTEGER_set_uint64(X509_get_serialNumber(certificate), serial >> 1);
}

/// It never expires: it lives as long as the job, and the clocks of hosts may differ.
Certificate make_certificate(EVP_PKEY* key) {
  Certificate made(X509_new());
  require(made != nullptr, "allocate memory");
  X509_set_version(made.get(), X509_VERSION_3);
  set_random_serial(made.get());
  ASN1_TIME_set_string(X509_getm_notBefore(made.get()), "20000101000000Z");
  ASN1_TIME_set_string(X509_getm_notAfter(made.get()), "99991231235959Z");
  X509_NAME* const name = X509_get_subject_name(made.get());
  const auto* const text = reinterpret_cast<const unsigned char*>(kCertificateName);
  X509_NAME_add_entry_by_txt(name, "CN", MBSTRING_ASC, text, -1, -1, 0);
  X509_set_issuer_name(made.get(), name);
  X509_set_pubkey(made.get(), key);
  add_extension(made.get(), NID_basic_constraints, "critical,CA:FALSE");
  add_extension(made.get(), NID_subject_alt_name, (std::string("DNS:") + kCertificateName).c_str());
  require(X509_sign(made.get(), key, EVP_sha256()) > 0, "sign a certificate");
  return made;
}

std::string draw_token() {
  std::array<unsigned char, kTokenBytes> bytes{};
  require(RAND_bytes(bytes.data(), static_cast<int>(bytes.size())) == 1, "draw random bytes");
  std::string token;
  for (const unsigned char byte : bytes) {
    token += "0123456789abcdef"[byte >> 4];
    token += "0123456789abcdef"[byte & 15];
  }
  return token;
}

Bio bio_over(const std::string& text) {
  return Bio(BIO_new_mem_buf(text.data(), static_cast<int>(text.size())));
}

Certificate first_certificate(const std::string& pem) {
  const Bio bio = bio_over(pem);
  return Certificate(PEM_read_bio_X509(bio.get(), nullptr, nullptr, nullptr));
}

/// A key with a passphrase is none: there is nobody to ask.
int no_passphrase(char*, int, int, void*) { return -1; }

Key key_in(const std::string& pem) {
  const Bio bio = bio_over(pem);
  return Key(PEM_read_bio_PrivateKey(bio.get(), nullptr, no_passphrase, nullptr));
}

std::string read_certificate(const std::filesystem::path& path, const std::string& flag) {
  std::ifstream file(path, std::ios::binary);
  std::ostringstream content;
  content << file.rdbuf();
  if (!file || !first_certificate(content.str())) {
    throw UsageError(flag + " " + path.string() + " holds no certificate",
                     "give a file in PEM format");
  }
  return content.str();
}

std::string read_token(const std::filesystem::path& path) {
  const std::string what = "--token-file " + path.string();
  std::string token = read_secret_file(path, what);
  const auto is_blank = [](char c) { return c == '\n' || c == '\r' || c == ' '; };
  while (!token.empty() && is_blank(token.back())) token.pop_back();
  const bool printable =
      std::all_of(token.begin(), token.end(), [](char c) { return c > ' ' && c < 127; });
  if (!printable || token.size() < kMinTokenLength || token.size() > kMaxTokenLength) {
    throw UsageError(what + " holds no token",
                     "it is one word of 32 to 1024 characters; gsplit coordinator "
                     "--make-credentials DIR makes one");
  }
  return token;
}

void write_secret(const std::filesystem::path& path, const std::string& content) {
  const int descriptor = make_secret_file(path, content);
  if (descriptor < 0) {
    throw UsageError(path.string() + " cannot be made: " + std::strerror(errno),
                     "choose a directory that can be written and has no such file");
  }
  close(descriptor);
}

}  // namespace

Identity make_identity() {
  const Key key(EVP_EC_gen("P-256"));
  require(key != nullptr, "make a key");
  const Certificate certificate = make_certificate(key.get());
  const Bio certificate_text = make_bio();
  const Bio key_text = make_bio();
  require(PEM_write_bio_X509(certificate_text.get(), certificate.get()) == 1 &&
              PEM_write_bio_PrivateKey(key_text.get(), key.get(), nullptr, nullptr, 0, nullptr,
                                       nullptr) == 1,
          "write PEM");
  return {text_of(certificate_text.get()), text_of(key_text.get()), draw_token()};
}

bool is_made_here(const std::string& certificate) {
  const Certificate read = first_certificate(certificate);
  return read && X509_check_host(read.get(), kCertificateName, std::strlen(kCertificateName), 0,
                                 nullptr) == 1;
}

bool same_secret(const std::string& one, const std::string& other) {
  return one.size() == other.size() && CRYPTO_memcmp(one.data(), other.data(), one.size()) == 0;
}

Credentials read_credentials(const std::filesystem::path& certificate,
                             const std::filesystem::path& token) {
  return {read_certificate(certificate, "--tls-ca"), read_token(token)};
}

Identity read_identity(const std::filesystem::path& certificate,
                       const std::filesystem::path& private_key,
                       const std::filesystem::path& token) {
  const std::string what = "--tls-key " + private_key.string();
  Identity identity{read_certificate(certificate, "--tls-cert"),
                    read_secret_file(private_key, what), read_token(token)};
  const Key key = key_in(identity.private_key);
  if (!key) throw UsageError(what + " holds no private key", "give a PEM file, not encrypted");
  if (X509_check_private_key(first_certificate(identity.certificate).get(), key.get()) != 1) {
    throw UsageError(what + " is not the key of --tls-cert " + certificate.string(),
                     "give the pair");
  }
  return identity;
}

void write_identity(const std::filesystem::path& directory) {
  std::error_code ignored;  // what follows says so
  std::filesystem::create_directories(directory, ignored);
  const Identity identity = make_identity();
  write_secret(directory / "key.pem", identity.private_key);
  write_secret(directory / "token", identity.token + "\n");
  write_secret(directory / "cert.pem", identity.certificate);
}

}  // namespace gsplit
