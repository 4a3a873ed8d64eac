#include "partition/cache_key.h"

#include <fmt/format.h>

#include <span>

#include "graph/sha256.h"
#include "partition/cache.h"
#include "partition/prepare.h"

namespace gsplit {
namespace {

/// Part of every cache key: to be raised when the same options give other files.
constexpr int kCacheVersion = 4;

}  // namespace

std::filesystem::path cache_path(const std::string& name, const std::string& key) {
  const std::string hash = sha256_hex(std::as_bytes(std::span(key)));
  return cache_directory() / (name + "-" + hash.substr(0, 32));
}

std::string dataset_key(const Dataset& dataset, const std::string& fingerprint) {
  std::string key =
      fmt::format("version {}\ncontent {}\nedges {}\nfeatures {}\n", kCacheVersion, fingerprint,
                  file_stamp(dataset.edges.path()), file_stamp(dataset.features.path()));
  if (dataset.edge_weights) key += "weights " + file_stamp(dataset.edge_weights->path()) + "\n";
  return key;
}

}  // namespace gsplit
