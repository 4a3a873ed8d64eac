#include "kernels/cpu/instruction_set.h"
#include "kernels/cpu/ops.h"

namespace gsplit::cpu {
namespace {

constexpr std::int64_t kChunk = 1024;  // rows per partial sum

template <class S>
void sum(const SumRowsArgs& args, Memory& memory, const Team& team) {
  using T = compute_type<S>;
  const std::int64_t cols = args.matrix.cols;
  const std::int64_t chunks = num_chunks(args.matrix.rows, kChunk);
  Buffer<T> partial(memory, static_cast<std::size_t>(chunks * cols));
  for_chunks(team, args.matrix.rows, kChunk,
             [&](std::int64_t index, std::int64_t begin, std::int64_t end) {
               T* const out = partial.data() + index * cols;
               std::fill_n(out, cols, T{0});
               with_best_instructions([&]() GSPLIT_INLINE_BODY {
                 for (std::int64_t i = begin; i < end; ++i) {
                   const S* const row = args.matrix.row<S>(i);
                   for (std::int64_t c = 0; c < cols; ++c) out[c] += widened(row[c]);
                 }
               });
             });
  T* const total = args.sum.row<T>(0);
  std::fill_n(total, cols, T{0});
  for (std::int64_t index = 0; index < chunks; ++index) {
    for (std::int64_t c = 0; c < cols; ++c) total[c] += partial.data()[index * cols + c];
  }
}

}  // namespace

void sum_rows(const SumRowsArgs& args, Memory& memory, const Team& team) {
  GSPLIT_CHECK(args.sum.rows == 1 && args.sum.cols == args.matrix.cols);
  GSPLIT_CHECK(args.sum.dtype == compute_dtype(args.matrix.dtype));
  dispatch_rows(args.matrix.dtype, [&](auto type) { sum<decltype(type)>(args, memory, team); });
}

}  // namespace gsplit::cpu
