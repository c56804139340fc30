/* dladdr isn't POSIX */
#define _GNU_SOURCE
#include "binding.h"

#ifndef _WIN32
#include <dlfcn.h>
#endif

/*
 * lua_close unloads modules, but libcurl's resolver threads outlive an engine that was freed while they looked up a
 * name, and would go on in code that is gone. So the module stays. (CMake tells the linker too; LuaRocks can't.)
 */
void nxa__lua_pin_module(void) {
#if !defined(_WIN32) && defined(RTLD_NODELETE) && defined(RTLD_NOLOAD)
  static const char inside;
  Dl_info info;
  if (dladdr(&inside, &info) != 0 && info.dli_fname)
    dlopen(info.dli_fname, RTLD_LAZY | RTLD_NOLOAD | RTLD_NODELETE);
#endif
}
