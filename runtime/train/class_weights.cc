#include "runtime/train/class_weights.h"

#include <fmt/core.h>

#include <cmath>
#include <filesystem>

#include "graph/npy.h"

namespace gsplit {
namespace {

constexpr const char* kNone = "none";
constexpr const char* kBalanced = "balanced";

[[noreturn]] void refuse(const std::string& file, const std::string& fault) {
  throw UsageError("--class-weights " + file + " " + fault,
                   "save one finite weight a class, 0 or more, as float32 or float64");
}

template <class T>
std::vector<double> checked(const std::string& file, std::span<const T> stored) {
  std::vector<double> weights;
  for (const T weight : stored) {
    if (!std::isfinite(weight) || weight < 0) {
      refuse(file, fmt::format("holds {} at position {}", weight, weights.size()));
    }
    weights.push_back(static_cast<double>(weight));
  }
  return weights;
}

std::vector<double> read_weights(const std::string& file, std::uint64_t num_classes) {
  if (!std::filesystem::is_regular_file(file)) {
    throw UsageError("--class-weights " + file + " is neither none nor balanced nor a file",
                     "choose one of them, or name a .npy with one weight a class");
  }
  const NpyArray array = NpyArray::open(file);
  if (array.shape() != std::vector{num_classes}) {
    refuse(file, fmt::format("does not hold one weight for each of {} classes", num_classes));
  }
  if (array.type() == NpyType{'f', 4}) return checked(file, array.as<float>());
  if (array.type() == NpyType{'f', 8}) return checked(file, array.as<double>());
  refuse(file, "holds " + array.type().name() + ", expected f4 or f8");
}

/// Own training nodes by class, or by label that holds.
std::vector<std::uint64_t> count_own(const Shard& shard) {
  const std::size_t classes = shard.num_classes();
  std::vector<std::uint64_t> counts(classes, 0);
  for (const LocalId node : shard.train_nodes()) {
    if (shard.task() == Task::kMultiClass) {
      ++counts[static_cast<std::size_t>(shard.labels()[value(node)])];
      continue;
    }
    const auto row = shard.label_matrix().subspan(value(node) * classes, classes);
    for (std::size_t c = 0; c < classes; ++c) counts[c] += row[c];
  }
  return counts;
}

std::vector<double> count_and_balance(const Shard& shard, Communicator& communicator) {
  std::vector<std::uint64_t> own = count_own(shard);
  own.push_back(shard.train_nodes().size());
  std::vector<std::uint64_t> all(own.size() * static_cast<std::size_t>(communicator.size()));
  communicator.all_gather(std::as_bytes(std::span(own)), std::as_writable_bytes(std::span(all)));
  std::vector<std::uint64_t> total(own.size(), 0);
  for (std::size_t i = 0; i < all.size(); ++i) total[i % own.size()] += all[i];
  return balanced_weights(shard.task(), std::span(total).first(shard.num_classes()), total.back());
}

}  // namespace

void check_class_weights(const std::string& choice, std::uint64_t num_classes) {
  if (choice != kNone && choice != kBalanced) read_weights(choice, num_classes);
}

std::vector<double> balanced_weights(Task task, std::span<const std::uint64_t> counts,
                                     std::uint64_t num_train) {
  const auto nodes = static_cast<double>(num_train);
  const auto classes = static_cast<double>(counts.size());
  std::vector<double> weights;
  for (const std::uint64_t n : counts) {
    const auto count = static_cast<double>(n);
    if (task == Task::kMultiClass) {
      weights.push_back(n == 0 ? 0 : nodes / (classes * count));
    } else {
      weights.push_back(n == 0 ? 1 : (nodes - count) / count);
    }
  }
  return weights;
}

std::vector<double> class_weights(const std::string& choice, const Shard& shard,
                                  const Context& context) {
  if (choice == kNone) return {};
  if (choice == kBalanced) return count_and_balance(shard, context.owners);
  std::vector<double> weights(shard.num_classes());
  if (context.communicator.rank() == 0) weights = read_weights(choice, shard.num_classes());
  context.communicator.broadcast(std::as_writable_bytes(std::span(weights)), 0);
  return weights;
}

}  // namespace gsplit
