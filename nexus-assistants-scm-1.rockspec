rockspec_format = "3.0"
package = "nexus-assistants"
version = "scm-1"
source = { url = "git+file://." }
description = {
  summary = "Agent scripts that can be seen while they run: traced calls to OpenAI-style APIs, delivered to Nexus",
  license = "MIT",
}
dependencies = { "lua >= 5.1, < 5.5", "lua-cjson >= 2.1.0" }
-- The library and not the header: on Debian, curl's headers are where compilers look and LuaRocks does not.
external_dependencies = { CURL = { library = "curl" } }
build = {
  type = "builtin",
  modules = {
    ["nexus_assistants.core"] = {
      sources = {
        "src/alloc.c", "src/answer.c", "src/buffer.c", "src/call.c", "src/clock.c", "src/descriptors.c",
        "src/endpoint.c", "src/engine.c", "src/error.c", "src/export.c", "src/failure.c", "src/json_out.c",
        "src/nexus_answer.c", "src/nexus_body.c", "src/nexus_outcome.c", "src/nexus_send.c",
        "src/nexus_state.c", "src/random.c", "src/request.c", "src/retry.c", "src/sink_nexus.c", "src/sse.c",
        "src/stream.c", "src/text.c", "src/trace.c", "src/transfer.c", "src/lua/call.c", "src/lua/core.c",
        "src/lua/endpoint.c", "src/lua/engine.c", "src/lua/json_mark.c", "src/lua/json_walk.c",
        "src/lua/options.c", "src/lua/pin.c", "src/lua/span.c", "src/lua/terminal.c", "src/lua/trace.c",
        "src/lua/tracer.c",
      },
      defines = { "_POSIX_C_SOURCE=200809L", "_DARWIN_C_SOURCE" },
      libraries = { "curl", "m", "pthread" },
      incdirs = { "$(CURL_INCDIR)" },
      libdirs = { "$(CURL_LIBDIR)" },
    },
    nexus_assistants = "lua/nexus_assistants/init.lua",
    ["nexus_assistants.cli"] = "lua/nexus_assistants/cli.lua",
    ["nexus_assistants.client"] = "lua/nexus_assistants/client.lua",
    ["nexus_assistants.error"] = "lua/nexus_assistants/error.lua",
    ["nexus_assistants.json"] = "lua/nexus_assistants/json.lua",
    ["nexus_assistants.models.script"] = "lua/nexus_assistants/models/script.lua",
    ["nexus_assistants.operations"] = "lua/nexus_assistants/operations.lua",
    ["nexus_assistants.options"] = "lua/nexus_assistants/options.lua",
    ["nexus_assistants.providers.assistants"] = "lua/nexus_assistants/providers/assistants.lua",
    ["nexus_assistants.providers.runtime"] = "lua/nexus_assistants/providers/runtime/init.lua",
    ["nexus_assistants.providers.runtime.actions"] = "lua/nexus_assistants/providers/runtime/actions.lua",
    ["nexus_assistants.providers.runtime.checks"] = "lua/nexus_assistants/providers/runtime/checks.lua",
    ["nexus_assistants.providers.runtime.copy"] = "lua/nexus_assistants/providers/runtime/copy.lua",
    ["nexus_assistants.providers.runtime.failure"] = "lua/nexus_assistants/providers/runtime/failure.lua",
    ["nexus_assistants.providers.runtime.id"] = "lua/nexus_assistants/providers/runtime/id.lua",
    ["nexus_assistants.providers.runtime.machine"] = "lua/nexus_assistants/providers/runtime/machine.lua",
    ["nexus_assistants.providers.runtime.objects"] = "lua/nexus_assistants/providers/runtime/objects.lua",
    ["nexus_assistants.providers.runtime.parameters"] = "lua/nexus_assistants/providers/runtime/parameters.lua",
    ["nexus_assistants.providers.runtime.prompt"] = "lua/nexus_assistants/providers/runtime/prompt.lua",
    ["nexus_assistants.providers.runtime.store"] = "lua/nexus_assistants/providers/runtime/store.lua",
    ["nexus_assistants.providers.runtime.timers"] = "lua/nexus_assistants/providers/runtime/timers.lua",
    ["nexus_assistants.resources"] = "lua/nexus_assistants/resources/init.lua",
    ["nexus_assistants.resources.runs"] = "lua/nexus_assistants/resources/runs.lua",
    ["nexus_assistants.run_loop"] = "lua/nexus_assistants/run_loop.lua",
    ["nexus_assistants.scheduler"] = "lua/nexus_assistants/scheduler.lua",
    ["nexus_assistants.serve"] = "lua/nexus_assistants/serve/init.lua",
    ["nexus_assistants.serve.assistants"] = "lua/nexus_assistants/serve/assistants.lua",
    ["nexus_assistants.serve.connection"] = "lua/nexus_assistants/serve/connection.lua",
    ["nexus_assistants.serve.loop"] = "lua/nexus_assistants/serve/loop.lua",
    ["nexus_assistants.serve.message"] = "lua/nexus_assistants/serve/message.lua",
    ["nexus_assistants.serve.nexus"] = "lua/nexus_assistants/serve/nexus.lua",
    ["nexus_assistants.serve.server"] = "lua/nexus_assistants/serve/server.lua",
    ["nexus_assistants.text"] = "lua/nexus_assistants/text.lua",
    ["nexus_assistants.timestamp"] = "lua/nexus_assistants/timestamp.lua",
    ["nexus_assistants.tools"] = "lua/nexus_assistants/tools.lua",
    ["nexus_assistants.trace"] = "lua/nexus_assistants/trace.lua",
    ["nexus_assistants.view"] = "lua/nexus_assistants/view/init.lua",
    ["nexus_assistants.view.terminal"] = "lua/nexus_assistants/view/terminal.lua",
    ["nexus_assistants.view.text"] = "lua/nexus_assistants/view/text.lua",
    ["nexus_assistants.view.tree"] = "lua/nexus_assistants/view/tree.lua",
  },
  install = { bin = { "bin/nexus-assistants" } },
}
