#include "graph/sha256.h"

#include <openssl/evp.h>

#include "kernels/base/error.h"

namespace gsplit {

void Sha256::Free::operator()(evp_md_ctx_st* context) const { EVP_MD_CTX_free(context); }

Sha256::Sha256() : context_(EVP_MD_CTX_new()) {
  GSPLIT_CHECK(context_ && EVP_DigestInit_ex(context_.get(), EVP_sha256(), nullptr) == 1);
}

void Sha256::add(std::span<const std::byte> bytes) {
  GSPLIT_CHECK(EVP_DigestUpdate(context_.get(), bytes.data(), bytes.size()) == 1);
}

void Sha256::add(std::uint64_t number) { add(std::as_bytes(std::span(&number, 1))); }

void Sha256::add(const std::string& text) {
  add(std::uint64_t{text.size()});
  add(std::as_bytes(std::span(text)));
}

Sha256Digest Sha256::digest() {
  Sha256Digest digest{};
  unsigned int size = 0;
  GSPLIT_CHECK(EVP_DigestFinal_ex(context_.get(), reinterpret_cast<unsigned char*>(digest.data()),
                                  &size) == 1);
  GSPLIT_CHECK(size == digest.size());
  return digest;
}

std::string Sha256::hex() {
  std::string text;
  for (const std::byte byte : digest()) {
    text += "0123456789abcdef"[std::to_integer<unsigned>(byte) >> 4];
    text += "0123456789abcdef"[std::to_integer<unsigned>(byte) & 15];
  }
  return text;
}

std::string sha256_hex(std::span<const std::byte> bytes) {
  Sha256 hash;
  hash.add(bytes);
  return hash.hex();
}

}  // namespace gsplit
