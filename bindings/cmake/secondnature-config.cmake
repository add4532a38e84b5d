# find_package(secondnature) gives the targets secondnature::secondnature, the shared library, and
# secondnature::static, which a program carries within it.
get_filename_component(_secondnature_prefix "${CMAKE_CURRENT_LIST_DIR}/../../.." ABSOLUTE)
foreach(_secondnature_file lib/libsecondnature.so lib/libsecondnature.a include/secondnature.h)
  if(NOT EXISTS "${_secondnature_prefix}/${_secondnature_file}")
    set(secondnature_FOUND FALSE)
    set(secondnature_NOT_FOUND_MESSAGE "${_secondnature_prefix}/${_secondnature_file} is missing")
    return()
  endif()
endforeach()
if(NOT TARGET secondnature::secondnature)
  add_library(secondnature::secondnature SHARED IMPORTED)
  set_target_properties(secondnature::secondnature PROPERTIES
    IMPORTED_LOCATION "${_secondnature_prefix}/lib/libsecondnature.so"
    INTERFACE_INCLUDE_DIRECTORIES "${_secondnature_prefix}/include")
endif()
if(NOT TARGET secondnature::static)
  add_library(secondnature::static STATIC IMPORTED)
  set_target_properties(secondnature::static PROPERTIES
    IMPORTED_LOCATION "${_secondnature_prefix}/lib/libsecondnature.a"
    INTERFACE_LINK_LIBRARIES "stdc++;gcc_s;pthread;dl;m"
    INTERFACE_INCLUDE_DIRECTORIES "${_secondnature_prefix}/include")
endif()
unset(_secondnature_file)
unset(_secondnature_prefix)
