// What this machine reaches at best in the four kinds of work that a step on the CPU is made of,
// measured.
#pragma once

#include <cstdint>

namespace gsplit {

struct MachineRates {
  double gemm_flops = 0;  ///< a second: fp32 products of (16384, 256) x (256, 256)
  double gather_bytes =
      0;  ///< a second, of the rows read: random rows of a table larger than the caches
  double stream_bytes =
      0;  ///< a second, read and written: a copy between arrays larger than the caches
  double random_reads =
      0;  ///< a second: 8 bytes each, independent, of an array larger than the caches
};

struct MeasureOptions {
  int threads = 1;
  std::int64_t row_width = 100;  ///< fp32 values of a gathered row
  int passes = 7;                ///< the fastest counts
};

/// Takes about a second and 1 GB.
MachineRates measure_machine(const MeasureOptions& options);

}  // namespace gsplit
