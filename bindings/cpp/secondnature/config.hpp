/** What the other headers are compiled with: secondnature.h, and whether there are exceptions. */
#ifndef SECONDNATURE_CONFIG_HPP
#define SECONDNATURE_CONFIG_HPP

#include <secondnature.h>

#if defined(__cpp_exceptions) || defined(_CPPUNWIND)
#define SECONDNATURE_HAS_EXCEPTIONS 1
#else
#define SECONDNATURE_HAS_EXCEPTIONS 0
#endif

// Code that differs by how a file is compiled gets another name for each way, so that the linker does
// not mix files that were compiled differently.
#if defined(SECONDNATURE_EXCEPTIONS) && !SECONDNATURE_HAS_EXCEPTIONS
#error "SECONDNATURE_EXCEPTIONS is defined, but exceptions are switched off (-fno-exceptions)"
#elif defined(SECONDNATURE_EXCEPTIONS)
#define SECONDNATURE_ABI throwing
#elif SECONDNATURE_HAS_EXCEPTIONS
#define SECONDNATURE_ABI catching
#else
#define SECONDNATURE_ABI without_exceptions
#endif

#endif // SECONDNATURE_CONFIG_HPP
