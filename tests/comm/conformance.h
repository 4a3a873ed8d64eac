// What every communicator must do, whatever its transport: each case is run by all ranks of a group
// and checks itself with GoogleTest's EXPECT.
#pragma once

#include <ostream>
#include <vector>

#include "comm/communicator.h"

namespace gsplit {

struct ConformanceCase {
  const char* name;
  void (*run)(Communicator&);
};

std::vector<ConformanceCase> conformance_cases();

inline std::ostream& operator<<(std::ostream& out, const ConformanceCase& c) {
  return out << c.name;
}

}  // namespace gsplit
