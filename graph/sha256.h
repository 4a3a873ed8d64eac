// SHA-256 of bytes, over OpenSSL.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>

struct evp_md_ctx_st;

namespace gsplit {

using Sha256Digest = std::array<std::byte, 32>;

/// A hash that is fed piece by piece.
class Sha256 {
 public:
  Sha256();
  void add(std::span<const std::byte> bytes);
  void add(std::uint64_t number);
  /// Its length goes first, so that no two sequences of texts hash alike.
  void add(const std::string& text);
  /// Once, at the end.
  Sha256Digest digest();
  std::string hex();  ///< 64 hex digits

 private:
  struct Free {
    void operator()(evp_md_ctx_st* context) const;
  };
  std::unique_ptr<evp_md_ctx_st, Free> context_;
};

/// 64 hex digits.
std::string sha256_hex(std::span<const std::byte> bytes);

}  // namespace gsplit
