# Sets NXA_LUA_PROGRAM to the interpreter for the Lua that the module is built for, which installed commands are run
# by: `lua` alone may be another one. It may be given; where none is found, it is /usr/bin/env lua.
if(NXA_LUA STREQUAL "jit")
  set(names luajit)
  set(wanted "Lua 5.1")
else()
  string(REPLACE "." "" compact ${NXA_LUA})
  set(names lua${NXA_LUA} lua-${NXA_LUA} lua${compact} lua)
  set(wanted "Lua ${NXA_LUA}")
endif()

if(NOT NXA_LUA_PROGRAM AND NOT CMAKE_CROSSCOMPILING)
  foreach(name ${names})
    find_program(NXA_FOUND_${name} ${name})
    mark_as_advanced(NXA_FOUND_${name})
    if(NXA_FOUND_${name})
      execute_process(COMMAND ${NXA_FOUND_${name}} -e "io.write(_VERSION)" OUTPUT_VARIABLE version ERROR_QUIET)
      if(version STREQUAL wanted)
        set(NXA_LUA_PROGRAM ${NXA_FOUND_${name}} CACHE FILEPATH "The interpreter that installed commands are run by")
        break()
      endif()
    endif()
  endforeach()
endif()

# A first line of a script takes no spaces in a path.
set(NXA_INTERPRETER "/usr/bin/env lua")
if(NXA_LUA_PROGRAM AND NOT NXA_LUA_PROGRAM MATCHES " ")
  set(NXA_INTERPRETER ${NXA_LUA_PROGRAM})
endif()

# A copy of a script whose first line names the interpreter.
function(nxa_command source out)
  configure_file(${source} ${out} COPYONLY) # so that a change of the script is noticed
  file(READ ${source} text)
  string(REGEX REPLACE "^#![^\n]*" "#!${NXA_INTERPRETER}" text "${text}")
  file(WRITE ${out} "${text}")
endfunction()
