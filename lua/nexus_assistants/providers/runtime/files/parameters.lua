--- What the bodies of operations on files, uploads and vector stores may hold: as in parameters.lua.
local checks = require("nexus_assistants.providers.runtime.checks")
local json = require("nexus_assistants.json")

local STRING, BOOLEAN, NUMBER = checks.type("string"), checks.type("boolean"), checks.type("number")
local FUNCTION = checks.type("function")

local MAX_FILE_IDS, MAX_BATCH, MAX_QUERIES, MAX_QUERY, MAX_NAME = 500, 2000, 32, 4096, 1024

local PURPOSES = { "assistants", "batch", "fine-tune", "vision", "user_data", "evals" }

local METADATA, ATTRIBUTES = { checks.metadata }, { checks.attributes }

-- A form has texts only, so a number may be one.
local function form_number(check)
  return function(value, name)
    if type(value) == "string" and value:find("^%d+$") and #value < 16 then value = tonumber(value) end
    return check(value, name)
  end
end

local EXPIRES_AFTER = {
  checks.object_of({
    anchor = { checks.one_of({ "created_at" }), required = true },
    seconds = { form_number(checks.number("integer", 3600, 30 * 24 * 3600)), required = true },
  }),
}

local FILE = {
  checks.object_of({
    data = { STRING }, path = { STRING }, read = { FUNCTION }, name = { checks.text(MAX_NAME) },
    content_type = { STRING }, size = { NUMBER },
  }), required = true,
}

local function purpose(values)
  return { checks.one_of(values), required = true }
end

local STORE_EXPIRES_AFTER = {
  checks.object_of({
    anchor = { checks.one_of({ "last_active_at" }), required = true },
    days = { checks.number("integer", 1, 365), required = true },
  }),
}

local CHUNKING = {
  checks.object_of({
    type = { checks.one_of({ "auto", "static" }), required = true },
    static = {
      checks.object_of({
        max_chunk_size_tokens = { checks.number("integer", 100, 4096), required = true },
        chunk_overlap_tokens = { checks.number("integer", 0), required = true },
      }),
    },
  }, "static"),
}

local STORE_FILE = { file_id = { STRING, required = true }, chunking_strategy = CHUNKING, attributes = ATTRIBUTES }

local COMPARISONS = { "eq", "ne", "gt", "gte", "lt", "lte", "in", "nin" }
local LISTS = { ["in"] = true, nin = true }

local check_filter

local function check_list(value, name)
  local fits, err = checks.type("array")(value, name)
  if not fits then return nil, err end
  if json.is_array(value) then return true end
  return checks.missing(name)
end

local function check_filters(value, name)
  local fits, err = check_list(value, name)
  if not fits then return nil, err end
  for index, inner in ipairs(value) do
    local place = ("%s[%d]"):format(name, index - 1)
    if inner == json.null then return checks.missing(place) end
    fits, err = check_filter(inner, place)
    if not fits then return nil, err end
  end
  return true
end

local COMPOUND = { type = { STRING }, filters = { check_filters, required = true } }
local check_operator = checks.one_of({ "eq", "ne", "gt", "gte", "lt", "lte", "in", "nin", "and", "or" })
local check_compound = checks.object_of(COMPOUND)
local check_comparison = checks.object_of({
  type = { checks.one_of(COMPARISONS) }, key = { STRING, required = true }, value = { checks.scalar, required = true },
})
local check_membership = checks.object_of({
  type = { checks.one_of(COMPARISONS) }, key = { STRING, required = true }, value = { check_list, required = true },
})

-- A comparison of an attribute, or several joined by "and" or "or".
function check_filter(value, name)
  local fits, err = checks.type("object")(value, name)
  if not fits then return nil, err end
  if checks.given(value) == nil then return true end
  if checks.given(value.type) == nil then return checks.missing(name .. ".type") end
  fits, err = check_operator(value.type, name .. ".type")
  if not fits then return nil, err end
  if value.type == "and" or value.type == "or" then return check_compound(value, name) end
  return (LISTS[value.type] and check_membership or check_comparison)(value, name)
end

local check_queries = checks.strings(MAX_QUERIES, checks.text(MAX_QUERY))
local check_query = checks.text(MAX_QUERY)

local SEARCH = {
  query = {
    function(value, name)
      if type(value) == "table" and value ~= json.null then return check_queries(value, name) end
      return check_query(value, name)
    end, required = true,
  },
  rewrite_query = { BOOLEAN }, max_num_results = { checks.number("integer", 1, 50) }, filters = { check_filter },
  ranking_options = {
    checks.object_of({
      ranker = { checks.one_of({ "none", "auto", "default-2024-11-15" }) },
      score_threshold = { checks.number("decimal", 0, 1) },
    }),
  },
}

return {
  ["files.create"] = { file = FILE, purpose = purpose(PURPOSES), expires_after = EXPIRES_AFTER },
  ["uploads.create"] = {
    filename = { checks.text(MAX_NAME), required = true },
    purpose = purpose({ "assistants", "batch", "fine-tune", "vision" }),
    bytes = { checks.number("integer", 0), required = true }, mime_type = { STRING, required = true },
    expires_after = EXPIRES_AFTER,
  },
  ["uploads.parts.create"] = { data = FILE },
  ["uploads.complete"] = { part_ids = { checks.strings(), required = true }, md5 = { STRING } },
  ["vector_stores.create"] = {
    file_ids = { checks.strings(MAX_FILE_IDS) }, name = { checks.text(MAX_NAME) },
    description = { checks.text(MAX_NAME) }, expires_after = STORE_EXPIRES_AFTER, chunking_strategy = CHUNKING,
    metadata = METADATA,
  },
  ["vector_stores.update"] = {
    name = { checks.text(MAX_NAME) }, expires_after = STORE_EXPIRES_AFTER, metadata = METADATA,
  },
  ["vector_stores.search"] = SEARCH,
  ["vector_stores.files.create"] = STORE_FILE,
  ["vector_stores.files.update"] = { attributes = { checks.attributes, required = true } },
  ["vector_stores.file_batches.create"] = {
    file_ids = { checks.strings(MAX_BATCH) }, files = { checks.array_of(STORE_FILE, MAX_BATCH) },
    chunking_strategy = CHUNKING, attributes = ATTRIBUTES,
  },
}
