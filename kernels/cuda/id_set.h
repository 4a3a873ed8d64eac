// Sets of ids and tables of positions in GPU memory. A set is a bitmap and the rank of each word's
// first bit. Enumerating and clearing pass over all words, 12 bytes each: of 100 million nodes 19
// MB, some microseconds; a summary of the words in use, as the CPU has it, would save less than the
// launches that it needs.
#pragma once

#include "kernels/cuda/ops.h"

namespace gsplit::cuda {

std::unique_ptr<IdSet> make_id_set(std::uint64_t universe, CudaMemory& memory);
std::unique_ptr<PositionTable> make_position_table(std::size_t nodes, CudaMemory& memory);
void relabel(const RelabelArgs& args, std::span<RowIndex> columns, const Queue& queue);

}  // namespace gsplit::cuda
