# How everything of ours is compiled and linked.
include(CheckLinkerFlag)

if(UNIX AND NOT APPLE)
  check_linker_flag(C "-Wl,-z,nodelete" NXA_LINKER_KNOWS_NODELETE)
  check_linker_flag(C "-Wl,--exclude-libs,ALL" NXA_LINKER_KNOWS_EXCLUDE_LIBS)
endif()
find_library(NXA_LIBM m)
if(NOT NXA_LIBM)
  set(NXA_LIBM "")
endif()

# A library that libcurl's resolver threads may still be running in must not be unloaded.
function(nxa_keep_loaded target)
  if(NXA_LINKER_KNOWS_NODELETE)
    target_link_options(${target} PRIVATE -Wl,-z,nodelete)
  endif()
endfunction()

# A module shows its luaopen function alone, not the API of the library linked into it.
function(nxa_hide_libraries target)
  if(NXA_LINKER_KNOWS_EXCLUDE_LIBS)
    target_link_options(${target} PRIVATE -Wl,--exclude-libs,ALL)
  endif()
endfunction()

function(nxa_sanitize target)
  if(NXA_SANITIZE)
    target_compile_options(${target} PRIVATE
      -fsanitize=address,undefined -fno-sanitize-recover=all -fno-omit-frame-pointer)
    target_link_options(${target} PUBLIC -fsanitize=address,undefined)
  endif()
endfunction()

function(nxa_compile target)
  set_target_properties(${target} PROPERTIES
    C_STANDARD 11 C_STANDARD_REQUIRED ON C_EXTENSIONS OFF
    C_VISIBILITY_PRESET hidden POSITION_INDEPENDENT_CODE ON)
  target_compile_definitions(${target} PRIVATE _POSIX_C_SOURCE=200809L _FILE_OFFSET_BITS=64)
  if(APPLE)
    target_compile_definitions(${target} PRIVATE _DARWIN_C_SOURCE)
  endif()
  target_compile_options(${target} PRIVATE -Wall -Wextra -Wpedantic -Wconversion -Wshadow)
  if(NXA_WERROR)
    target_compile_options(${target} PRIVATE -Werror)
  endif()
  nxa_sanitize(${target})
endfunction()

function(nxa_program target)
  add_executable(${target} ${ARGN})
  nxa_compile(${target})
  target_link_libraries(${target} PRIVATE nexus_assistants_static ${NXA_LIBM})
endfunction()
