#include <openssl/evp.h>

#include <algorithm>
#include <memory>

#include "graph/dataset.h"

namespace gsplit {
namespace {

class Sha256 {
 public:
  Sha256() : context_(EVP_MD_CTX_new(), &EVP_MD_CTX_free) {
    GSPLIT_CHECK(context_ && EVP_DigestInit_ex(context_.get(), EVP_sha256(), nullptr) == 1);
  }
  void add(std::span<const std::byte> bytes) {
    GSPLIT_CHECK(EVP_DigestUpdate(context_.get(), bytes.data(), bytes.size()) == 1);
  }
  void add(std::uint64_t number) { add(std::as_bytes(std::span(&number, 1))); }
  /// Its length goes first, so that no two sequences of texts hash alike.
  void add(const std::string& text) {
    add(std::uint64_t{text.size()});
    add(std::as_bytes(std::span(text)));
  }
  std::string hex() {
    unsigned char digest[EVP_MAX_MD_SIZE];
    unsigned int size = 0;
    GSPLIT_CHECK(EVP_DigestFinal_ex(context_.get(), digest, &size) == 1);
    std::string text;
    for (unsigned int i = 0; i < size; ++i) {
      text += "0123456789abcdef"[digest[i] >> 4];
      text += "0123456789abcdef"[digest[i] & 15];
    }
    return text;
  }

 private:
  std::unique_ptr<EVP_MD_CTX, decltype(&EVP_MD_CTX_free)> context_;
};

/// All of a small array; of a larger one its two ends and equally spaced blocks between them.
void add_sampled(Sha256& hash, std::span<const std::byte> bytes) {
  constexpr std::size_t kBlock = 4096;
  constexpr std::size_t kBlocks = 1024;
  if (bytes.size() <= kBlock * kBlocks) return hash.add(bytes);
  const std::size_t last = bytes.size() - kBlock;
  const std::size_t stride = last / (kBlocks - 1);
  for (std::size_t i = 0; i + 1 < kBlocks; ++i) hash.add(bytes.subspan(i * stride, kBlock));
  hash.add(bytes.subspan(last, kBlock));
}

void add_array(Sha256& hash, const NpyArray& array) {
  hash.add(array.type().name());
  hash.add(std::uint64_t{array.shape().size()});
  for (const std::uint64_t dimension : array.shape()) hash.add(dimension);
  add_sampled(hash, array.bytes());
}

void add_split(Sha256& hash, const LabeledNodes& split) {
  hash.add(std::uint64_t{split.nodes.size()});
  hash.add(std::as_bytes(std::span(split.nodes)));
  hash.add(std::as_bytes(std::span(split.labels)));
}

}  // namespace

std::string content_fingerprint(const Dataset& dataset) {
  Sha256 hash;
  hash.add(std::string("gsplit dataset fingerprint 1"));
  hash.add(dataset.num_nodes);
  hash.add(dataset.num_classes);
  add_array(hash, dataset.edges);
  add_array(hash, dataset.features);
  for (const LabeledNodes* split : {&dataset.train, &dataset.validation, &dataset.test}) {
    add_split(hash, *split);
  }
  if (dataset.edge_weights) {
    hash.add(std::string("edge weights"));
    add_array(hash, *dataset.edge_weights);
  }
  return hash.hex();
}

}  // namespace gsplit
