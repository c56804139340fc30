/*
 * Sweeps allocation failures through the binding: a script that uses all of it is run once for each allocation it
 * makes, which then fails; first those of Lua, then those of the core. Whatever happens, nothing of the core's stays
 * behind.
 *
 * nxa-lua: this test hosts Lua
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include <lauxlib.h>
#include <lua.h>
#include <lualib.h>

#include "nexus_assistants.h"

int luaopen_nexus_assistants_core(lua_State *L);

/* What can be nil for want of memory is asked before it is used; port 1 refuses connections at once. */
static const char *const script =
    "local core, path = ...\n"
    "local function must(value, err)\n"
    "  assert(value or err.kind == 'memory', err and err.message)\n"
    "  return value\n"
    "end\n"
    "core.json_mark('[[], 123456789012345, \"x\"]', ('m'):rep(100))\n"
    "core.json_restore({ { 'M12345' }, { a = 'M', b = { 1.5, 2.0 } } }, 'M', {})\n"
    "core.json_is_plain({ { 'x' }, { a = 1.5 } }, {})\n"
    "core.utf8_valid('x') core.monotonic() core.environment('HOME') core.is_secret('HOME', 'x')\n"
    "local signals = core.signals()\n"
    "signals:noted() signals:interrupt(9, '@x') signals:hold(9) signals:getfd() signals:close()\n"
    "must(core.make_directory('/')) must(core.make_private(path))\n"
    "local lock, locked = core.lock_file(path)\n"
    "if lock then core.lock_file(path) lock:path() lock:remove() else must(nil, locked) end\n"
    "core.lock_file('/') core.make_directory('/dev/null') core.make_private('/dev/null/none')\n"
    "local engine = must(core.engine({ max_transfers = 3 }))\n"
    "local endpoint = must(core.endpoint({ base_url = 'http://127.0.0.1:1', key = 'secret', headers = { A = 'b' },\n"
    "                                      headers_environment = 'NXA_NONE NXA_SOME', ca_file = 'x',\n"
    "                                      client_certificate = 'x', client_key = 'x' }))\n"
    "if not engine or not endpoint then return end\n"
    "tostring(endpoint)\n"
    "endpoint:redact('the key is secret') core.holds_key('no', { endpoint }) core.holds_any('ab', 'bc')"
    " core.http_date('noon') core.json_cut('1', 100) core.list_folder('.')\n"
    "local tracer = must(core.tracer(engine, { max_spans = 4 }))\n"
    "if tracer then\n"
    "  must(tracer:nexus({ endpoint = endpoint, timeout = 1, spool = path .. '.spool' }))\n"
    "  must(tracer:otlp({ endpoint = endpoint, path = '/t', json = true, content = true, service_name = 's',\n"
    "                      spool = path .. '.spool' }))\n"
    "  must(tracer:file({ path = path .. '.jsonl', resource_attributes = 'a=b' }))\n"
    "  local trace = tracer:trace('agent', 'na\\0me')\n"
    "  if trace then\n"
    "    trace:continue('00-' .. ('1'):rep(32) .. '-' .. ('2'):rep(16) .. '-01') trace:traceparent()\n"
    "    trace:id() trace:input('\"i\"') trace:metadata('k', '1')\n"
    "    local parent = trace:span('parent', 'llm')\n"
    "    local child = trace:span('child', nil, parent)\n"
    "    if child then child:id() child:traceparent() child:input('1') child:output('2') child:metadata('k', '3') "
    "child:error('x\\0y')\n"
    "      child:times(1, 2) child:finish('error') end\n"
    "    if parent then parent:finish('ok') end\n"
    "    trace:output('[]') trace:finish('error', 'me\\0ssage')\n"
    "  end\n"
    "  tracer:stats() tracer:flush() tracer:pending() tracer:reachable('nexus') tracer:resume()\n"
    "  tracer:close(0)\n"
    "  local left = tracer:collect('nexus')\n"
    "  if left then tracer:collected('nexus', left, false) tracer:collected('nexus', tracer:collect('nexus') or left, "
    "true) end\n"
    "  tracer:reachable('otlp') left = tracer:collect('otlp')\n"
    "  if left then tracer:collected('otlp', left, true) end\n"
    "  core.otlp_rejected('{}', true) core.otlp_is_page('<a>', '') core.gzip('x') core.absolute_path('x') "
    "core.look_at('/')\n"
    "  tracer:release_spool()\n"
    "end\n"
    "local request = { endpoint = endpoint, method = 'POST', path = '/x', body = '{}', retries = 0, timeout = 5,\n"
    "                  headers = { B = 'c', D = 'e' }, query = 'a=b', stream = 'bytes' }\n"
    "local cancelled, call = must(engine:call(request)), must(engine:call(request))\n"
    "if cancelled then cancelled:cancel() cancelled:result() end\n"
    "local parts = { { name = 'a', data = 'b' }, { name = 'c', source = true, size = 3, file_name = 'd' } }\n"
    "local upload = must(engine:call({ endpoint = endpoint, method = 'POST', path = '/x', parts = parts,\n"
    "                                  progress = true, retries = 0 }))\n"
    "if upload then upload:send('xyz') upload:send_end() upload:progress() upload:cancel() end\n"
    "engine:fds() engine:timeout()\n"
    "for _ = 1, 1000 do\n"
    "  if not call or call:done() then break end\n"
    "  engine:step(0.1)\n"
    "end\n"
    "repeat local event = engine:next() until not event\n"
    "if call then call:result() call:event() call:piece() end\n";

/* ------------------------------------------------------------------------------------------------ allocators */

static long lua_left;  /* allocations of Lua that succeed from here on; negative: all */
static long core_left; /* the same for the core */
static long core_blocks;
static long refusals;

static bool used_up(long *left) {
  if (*left == 0) {
    refusals++;
    return true;
  }
  if (*left > 0)
    --*left;
  return false;
}

static void *lua_allocate(void *data, void *block, size_t old_size, size_t size) {
  (void)data;
  if (size == 0) {
    free(block);
    return NULL;
  }
  bool grows = !block || size > old_size;
  return grows && used_up(&lua_left) ? NULL : realloc(block, size);
}

static void *core_allocate(size_t size) {
  void *block = used_up(&core_left) ? NULL : malloc(size);
  core_blocks += block != NULL;
  return block;
}

static void *core_reallocate(void *block, size_t size) {
  if (!block)
    return core_allocate(size);
  return used_up(&core_left) ? NULL : realloc(block, size);
}

static void core_release(void *block) {
  core_blocks -= block != NULL;
  free(block);
}

/* ------------------------------------------------------------------------------------------------ runs */

static char folder[] = "/tmp/nxa-binding-XXXXXX";
static char lock_path[sizeof folder + 8];

static int make_folder(void **state) {
  (void)state;
  if (!mkdtemp(folder))
    return -1;
  snprintf(lock_path, sizeof lock_path, "%s/lock", folder);
  setenv("NXA_SOME", "c=d", 1);
  return 0;
}

/* A script that failed has left files. */
static int remove_folder(void **state) {
  char command[sizeof folder + 16];
  (void)state;
  snprintf(command, sizeof command, "rm -rf '%s'", folder);
  return system(command);
}

static int open_core(lua_State *L) {
  luaL_openlibs(L);
  luaL_requiref(L, "nexus_assistants.core", luaopen_nexus_assistants_core, 0);
  lua_pushstring(L, lock_path);
  return 2;
}

/* Lua's allocations fail in the script or, if `opening`, before it. Returns the status of what failed. */
static int run_script(long lua_allocations, long core_allocations, bool opening) {
  lua_left = core_left = -1;
  refusals = 0;
  lua_State *L = lua_newstate(lua_allocate, NULL);
  assert_non_null(L);
  assert_int_equal(luaL_loadstring(L, script), LUA_OK);
  lua_pushcfunction(L, open_core);
  if (opening)
    lua_left = lua_allocations;
  int status = lua_pcall(L, 0, 2, 0);
  lua_left = opening ? -1 : lua_allocations;
  core_left = core_allocations;
  if (status == LUA_OK)
    status = lua_pcall(L, 2, 0, 0);
  lua_left = core_left = -1;
  if (status != LUA_OK && status != LUA_ERRMEM)
    print_error("%s\n", lua_tostring(L, -1));
  lua_close(L);
  return status;
}

static void test_nothing_fails(void **state) {
  (void)state;
  assert_int_equal(run_script(-1, -1, false), LUA_OK);
  assert_int_equal(core_blocks, 0);
}

static void test_lua_allocations_fail(void **state) {
  (void)state;
  int status = LUA_ERRMEM;
  long allocations = 0;
  for (; status == LUA_ERRMEM; allocations++) {
    status = run_script(allocations, -1, false);
    assert_true(status == LUA_OK || status == LUA_ERRMEM);
    assert_int_equal(core_blocks, 0);
  }
  assert_true(allocations > 50);
}

static void test_opening_fails(void **state) {
  (void)state;
  int status = LUA_ERRMEM;
  for (long allocations = 0; status == LUA_ERRMEM && allocations < 100000; allocations += 3) {
    status = run_script(allocations, -1, true);
    assert_true(status == LUA_OK || status == LUA_ERRMEM);
    assert_int_equal(core_blocks, 0);
  }
}

/* The core returns errors, so the script ends well every time. */
static void test_core_allocations_fail(void **state) {
  (void)state;
  long allocations = 0;
  do {
    assert_int_equal(run_script(-1, allocations++, false), LUA_OK);
    assert_int_equal(core_blocks, 0);
  } while (refusals > 0);
  assert_true(allocations > 10);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_nothing_fails),
      cmocka_unit_test(test_lua_allocations_fail),
      cmocka_unit_test(test_opening_fails),
      cmocka_unit_test(test_core_allocations_fail),
  };
  nxa_set_allocator(core_allocate, core_reallocate, core_release);
  return cmocka_run_group_tests(tests, make_folder, remove_folder);
}
