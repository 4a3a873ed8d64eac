#include "runtime/control/progress.h"

namespace gsplit {

const char* name_of(Phase phase) {
  switch (phase) {
    case Phase::kStarting:
      return "starting";
    case Phase::kPartition:
      return "partition";
    case Phase::kWaitingForPlan:
      return "waiting for the plan";
    case Phase::kSampling:
      return "sampling";
    case Phase::kLoading:
      return "loading";
    case Phase::kExchange:
      return "exchange";
    case Phase::kCompute:
      return "compute";
    case Phase::kAllReduce:
      return "all-reduce";
    case Phase::kEvaluation:
      return "evaluation";
    case Phase::kCheckpoint:
      return "checkpoint";
    case Phase::kFinished:
      return "finished";
  }
  return "unknown";
}

}  // namespace gsplit
