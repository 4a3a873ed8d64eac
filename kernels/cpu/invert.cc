#include <vector>

#include "kernels/cpu/ops.h"

namespace gsplit::cpu {

// A counting sort: stable, so destinations ascend within each row of the inverse.
InverseCsr invert(std::span<const RowIndex> indptr, std::span<const RowIndex> columns,
                  std::size_t num_columns, Memory& memory) {
  InverseCsr inverse{Buffer<RowIndex>(memory, num_columns + 1),
                     Buffer<RowIndex>(memory, columns.size()),
                     Buffer<RowIndex>(memory, columns.size())};
  const std::span<RowIndex> offsets = inverse.indptr.span();
  std::fill(offsets.begin(), offsets.end(), RowIndex{0});
  for (RowIndex column : columns) ++offsets[column + 1];
  for (std::size_t j = 0; j < num_columns; ++j) offsets[j + 1] += offsets[j];
  std::vector<RowIndex> next(offsets.begin(), offsets.end() - 1);
  for (std::size_t i = 0; i + 1 < indptr.size(); ++i) {
    for (RowIndex e = indptr[i]; e < indptr[i + 1]; ++e) {
      const RowIndex place = next[columns[e]]++;
      inverse.destinations.data()[place] = static_cast<RowIndex>(i);
      inverse.edges.data()[place] = e;
    }
  }
  return inverse;
}

}  // namespace gsplit::cpu
