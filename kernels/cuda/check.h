// Return codes of CUDA, cuBLAS and cuSPARSE as Errors.
#pragma once

#include <cublas_v2.h>
#include <cuda_runtime_api.h>
#include <cusparse.h>

#include <string>

#include "kernels/base/error.h"

namespace gsplit::cuda {

/// Throws SystemError unless `status` is success. `what`: what was tried, "copying to the GPU".
inline void check(cudaError_t status, const char* what) {
  if (status == cudaSuccess) return;
  throw SystemError(std::string("CUDA: ") + what + " failed: " + cudaGetErrorString(status) + " (" +
                        cudaGetErrorName(status) + ")",
                    "see what gsplit doctor says of the GPU, and go on with --resume");
}

inline void check(cublasStatus_t status, const char* what) {
  if (status == CUBLAS_STATUS_SUCCESS) return;
  throw SystemError(std::string("cuBLAS: ") + what + " failed: " + cublasGetStatusString(status),
                    "see what gsplit doctor says of the GPU, and go on with --resume");
}

inline void check(cusparseStatus_t status, const char* what) {
  if (status == CUSPARSE_STATUS_SUCCESS) return;
  throw SystemError(std::string("cuSPARSE: ") + what + " failed: " + cusparseGetErrorString(status),
                    "see what gsplit doctor says of the GPU, or go on with --resume --spmm own");
}

/// After a launch: a kernel that could not be started.
inline void check_launch(const char* kernel) { check(cudaGetLastError(), kernel); }

}  // namespace gsplit::cuda
