# cmake --install, and cpack: a tarball and Debian packages (docs/packaging.md). Included by the top CMakeLists.txt.
#
# Two components: `runtime`, all that runs on the CPU, and `cuda`, the module, whose CUDA libraries Debian does not have.
include(GNUInstallDirs)

set(module_dir ${CMAKE_INSTALL_LIBDIR}/gsplit)
install(TARGETS gsplit RUNTIME DESTINATION ${CMAKE_INSTALL_BINDIR} COMPONENT runtime)
file(RELATIVE_PATH to_module /${CMAKE_INSTALL_BINDIR} /${module_dir})
set_target_properties(gsplit PROPERTIES INSTALL_RPATH "$ORIGIN;$ORIGIN/${to_module}")
if(GSPLIT_CUDA_MODULE)
  install(TARGETS gsplit_cuda LIBRARY DESTINATION ${module_dir} COMPONENT cuda)
  set_target_properties(gsplit_cuda PROPERTIES INSTALL_RPATH "")
endif()

# The executable that is installed says what it completes.
set(completions ${PROJECT_BINARY_DIR}/completions)
install(CODE "
  file(MAKE_DIRECTORY \"${completions}\")
  foreach(shell bash zsh fish)
    execute_process(COMMAND \"${PROJECT_BINARY_DIR}/gsplit\" completion \${shell}
      OUTPUT_FILE \"${completions}/\${shell}\" COMMAND_ERROR_IS_FATAL ANY)
  endforeach()
  execute_process(COMMAND \"${PROJECT_BINARY_DIR}/gsplit\" manual OUTPUT_FILE \"${completions}/gsplit.1\" COMMAND_ERROR_IS_FATAL ANY)"
  COMPONENT runtime)
install(FILES ${completions}/gsplit.1 DESTINATION ${CMAKE_INSTALL_MANDIR}/man1 COMPONENT runtime)
install(FILES ${completions}/bash DESTINATION ${CMAKE_INSTALL_DATADIR}/bash-completion/completions RENAME gsplit COMPONENT runtime)
install(FILES ${completions}/zsh DESTINATION ${CMAKE_INSTALL_DATADIR}/zsh/vendor-completions RENAME _gsplit COMPONENT runtime)
install(FILES ${completions}/fish DESTINATION ${CMAKE_INSTALL_DATADIR}/fish/vendor_completions.d RENAME gsplit.fish COMPONENT runtime)

install(FILES README.md CHANGELOG.md DESTINATION ${CMAKE_INSTALL_DOCDIR} COMPONENT runtime)
install(FILES LICENSE DESTINATION ${CMAKE_INSTALL_DOCDIR} RENAME copyright COMPONENT runtime)
install(DIRECTORY docs/ DESTINATION ${CMAKE_INSTALL_DOCDIR}/docs COMPONENT runtime)

set(CPACK_PACKAGE_VENDOR "the gsplit authors")
set(CPACK_PACKAGE_CONTACT "the gsplit authors <gsplit@localhost>")
set(CPACK_PACKAGE_DESCRIPTION_SUMMARY "${PROJECT_DESCRIPTION}")
set(CPACK_RESOURCE_FILE_LICENSE ${PROJECT_SOURCE_DIR}/LICENSE)
set(CPACK_GENERATOR "TGZ;DEB")
set(CPACK_PACKAGING_INSTALL_PREFIX /usr)
set(CPACK_STRIP_FILES ON)
set(CPACK_OUTPUT_FILE_PREFIX ${PROJECT_BINARY_DIR}/packages)
set(CPACK_COMPONENTS_ALL runtime)
if(GSPLIT_CUDA_MODULE)
  list(APPEND CPACK_COMPONENTS_ALL cuda)
endif()
set(CPACK_ARCHIVE_COMPONENT_INSTALL ON)
set(CPACK_DEB_COMPONENT_INSTALL ON)
set(CPACK_ARCHIVE_RUNTIME_FILE_NAME gsplit-${PROJECT_VERSION}-${CMAKE_SYSTEM_PROCESSOR})
set(CPACK_ARCHIVE_CUDA_FILE_NAME gsplit-cuda-${PROJECT_VERSION}-${CMAKE_SYSTEM_PROCESSOR})

set(CPACK_DEBIAN_FILE_NAME DEB-DEFAULT)
set(CPACK_DEBIAN_PACKAGE_SECTION science)
set(CPACK_DEBIAN_RUNTIME_PACKAGE_NAME gsplit)
set(CPACK_DEBIAN_RUNTIME_PACKAGE_SHLIBDEPS ON)
set(CPACK_DEBIAN_RUNTIME_PACKAGE_RECOMMENDS "openmpi-bin")
set(CPACK_DEBIAN_CUDA_PACKAGE_NAME gsplit-cuda)
set(CPACK_DEBIAN_CUDA_PACKAGE_DEPENDS "gsplit (= ${PROJECT_VERSION})")
set(CPACK_DEBIAN_CUDA_PACKAGE_SHLIBDEPS OFF)
set(CPACK_COMPONENT_RUNTIME_DESCRIPTION "Trains GraphSAGE, GCN, GAT and GIN on graphs too large for one device, by MPI on
several workers, each of which owns a part of the graph.")
set(CPACK_COMPONENT_CUDA_DESCRIPTION "The module by which gsplit computes on NVIDIA GPUs. It needs the CUDA runtime, cuBLAS,
cuSPARSE and NCCL of CUDA 13, which the loader has to find, and NVIDIA's driver.")
include(CPack)
