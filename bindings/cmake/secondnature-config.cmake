# find_package(secondnature) gives the target secondnature::secondnature.
get_filename_component(_secondnature_prefix "${CMAKE_CURRENT_LIST_DIR}/../../.." ABSOLUTE)
if(NOT TARGET secondnature::secondnature)
  add_library(secondnature::secondnature SHARED IMPORTED)
  set_target_properties(secondnature::secondnature PROPERTIES
    IMPORTED_LOCATION "${_secondnature_prefix}/lib/libsecondnature.so"
    INTERFACE_INCLUDE_DIRECTORIES "${_secondnature_prefix}/include")
endif()
unset(_secondnature_prefix)
