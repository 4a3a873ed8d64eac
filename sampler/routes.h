// What travels from an owner of rows to a worker that sums them: the rows, or partial sums of them.
//
// After sampling, a worker p knows the edges from rows of an owner q to its own destinations. Each
// such edge is served either by its source row, which q sends once however many edges read it, or
// by the partial sum of its destination, which q makes of all its rows that the destination reads.
// With kMixed the rows and sums of each pair (q, p) are a vertex cover of these edges: a smallest
// one (no choice sends fewer), or what a linear-time rule finds. A row and a sum are equally wide,
// so fewest rows are fewest bytes.
#pragma once

#include <cstdint>
#include <string>

#include "comm/communicator.h"
#include "kernels/backend.h"
#include "sampler/block.h"

namespace gsplit {

enum class Route : std::uint8_t {
  kPull,   ///< source rows: as many as distinct sources
  kPush,   ///< partial sums: as many as distinct destinations
  kMixed,  ///< some of both: a vertex cover
  kAuto,   ///< of every layer of every batch pull or mixed: whichever sends fewer bytes, ids
           ///< included
};

/// "auto", "pull", "push", "mixed"; "project" is kPull: of rows that the owner has transformed.
Route route_from_name(const std::string& name);

/// Which vertex cover.
enum class Cover : std::uint8_t {
  kExact,   ///< as few nodes as possible: sampler/vertex_cover.h, by one thread of the host
  kLinear,  ///< SamplingOps::cover() of the backend
};

struct RouteOptions {
  Route route = Route::kPull;
  Cover cover = Cover::kExact;
  std::uint64_t row_bytes = 0;  ///< kAuto: that a row costs on its way, forward and backward
};

/// Lets sums travel in a layer that pulls, without inverse so far: peers are told which sums to
/// make, the block reads received sums as it reads rows, by one edge of weight 1, and the plan
/// makes what it sends from own rows. With kPull, and kAuto where that is best, the layer stays as
/// it is. Returns the bytes of ids and counts sent. REQUIRES: the layer lies in backend.pinned().
/// Collective.
std::uint64_t route_layer(const RouteOptions& options, SampledLayer& layer,
                          Communicator& communicator, Backend& backend, Stream& stream);

}  // namespace gsplit
