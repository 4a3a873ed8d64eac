// Host memory keeps blocks for the next step, but not those of every size that was ever asked for.
#include <gtest/gtest.h>
#include <unistd.h>

#include <cstring>
#include <fstream>

#include "kernels/backend.h"

namespace gsplit {
namespace {

std::size_t resident_bytes() {
  std::size_t pages = 0;
  std::ifstream("/proc/self/statm") >> pages >> pages;
  return pages * static_cast<std::size_t>(sysconf(_SC_PAGESIZE));
}

void use(Memory& memory, std::size_t bytes) {
  Buffer<std::byte> buffer(memory, bytes);
  std::memset(buffer.data(), 1, bytes);
}

TEST(HostMemory, HandsABlockOutAgain) {
  const auto backend = make_cpu_backend(1);
  void* const first = backend->memory().allocate(1 << 20);
  backend->memory().release(first, 1 << 20);
  void* const second = backend->memory().allocate(1 << 20);
  EXPECT_EQ(first, second);
  backend->memory().release(second, 1 << 20);
}

TEST(HostMemory, HandsALargerBlockOutRatherThanAskingForMore) {
  const auto backend = make_cpu_backend(1);
  void* const first = backend->memory().allocate(1 << 20);
  backend->memory().release(first, 1 << 20);
  void* const smaller = backend->memory().allocate(900 << 10);
  EXPECT_EQ(first, smaller);
  backend->memory().release(smaller, 900 << 10);
  void* const much_smaller = backend->memory().allocate(100 << 10);
  EXPECT_NE(first, much_smaller);
  backend->memory().release(much_smaller, 100 << 10);
}

TEST(HostMemory, WhatLiesIdleIsBoundedByWhatWasInUse) {
  const auto backend = make_cpu_backend(1);
  const std::size_t largest = std::size_t{64} << 20;
  use(backend->memory(), largest);
  const std::size_t before = resident_bytes();
  // 24 size classes, 700 MB in all.
  for (std::size_t bytes = largest; bytes > largest / 8; bytes -= bytes / 9) {
    use(backend->memory(), bytes);
  }
  EXPECT_LT(resident_bytes(), before + 2 * largest);
}

}  // namespace
}  // namespace gsplit
