-- busted under the Lua that dev/lua found, whichever one the system's `busted` is for.
require("busted.runner")({ standalone = false })
