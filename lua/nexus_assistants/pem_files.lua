--- The PEM files that an OpenTelemetry receiver is reached with: whom to trust, and who this client is, as options and
-- the environment name them. Somebody may have put a key where its path belongs, so that what isn't plainly a path is
-- never repeated, nor where the key is.
local core = require("nexus_assistants.core")
local values_of = require("nexus_assistants.values")

local pem_files = {}

-- By option, what the core calls them; those that go together with which other.
local NAMES = { certificate = "ca_file", client_certificate = "client_certificate", client_key = "client_key" }
local PARTNERS = { client_certificate = "client_key", client_key = "client_certificate" }

local NO_PATH = "must be the path of a PEM file, not what is in it"
local NO_PIPE = "must be the path of a PEM file, not of a pipe: it is read for each connection"
local LONGEST_NAME, LONGEST_PATH = 255, 4095 -- bytes, as systems have them
local SHORTEST_KEY = 60 -- characters of a key in base64: Ed25519's has 64

-- ------------------------------------------------------------------------------------------------ what is a path

local function is_too_long(text)
  for name in text:gmatch("[^/]+") do
    if #name > LONGEST_NAME then return true end
  end
  return #text > LONGEST_PATH
end

-- Base64 of PEM, or of DER, where all is in one sequence: the byte 48, and a byte that begins its length.
local function is_base64(text)
  if text:find("^%s*LS0tLS1CRUdJTi") then return true end
  return #text >= SHORTEST_KEY and text:find("^%s*M[A-P][%w+/_%s-]*=*%s*$") ~= nil
end

--- Whether a text may be a certificate or a key itself, or something else that is neither a path nor an address.
function pem_files.is_content(text)
  return text:find("-----BEGIN", 1, true) ~= nil or values_of.has_control(text) or is_too_long(text) or is_base64(text)
end

-- The path; or nil, and what is wrong with it.
local function checked(path)
  local found = core.look_at(path)
  if found and found.kind == "pipe" then return nil, NO_PIPE end
  if not found and pem_files.is_content(path) then return nil, NO_PATH end
  return path
end

-- The same of a variable's, as a sentence.
local function checked_variable(text)
  local path, problem = checked(text)
  return path, problem and "it " .. problem
end

-- ------------------------------------------------------------------------------------------------ what is named

-- What the option or the variable names, and which of them it is: `{path, source, is_option}`; nil for neither; or nil
-- and what is wrong with the option.
local function named(given, option, from_environment, warn)
  local source = "option otlp." .. option
  if given[option] then
    local path, problem = checked(given[option])
    if not path then return nil, source .. " " .. problem end
    return { path = path, source = source, is_option = true }
  end
  local path, variable = from_environment(option:upper(), warn, checked_variable)
  return path and { path = path, source = "environment variable " .. variable }
end

-- What is wrong with half of what goes together; nil where it was left out instead.
local function settle_half(found, option, warn)
  local half, partner = found[option], PARTNERS[option]
  if half.is_option then return ("%s needs otlp.%s, which is absent"):format(half.source, partner) end
  warn(("%s is left out: it needs OTEL_EXPORTER_OTLP_%s, which is absent"):format(half.source, partner:upper()))
  found[option] = nil
end

-- What keeps it from being read, as far as a look tells: opening it might take long. Nil for nothing.
local function problem_of(path)
  local found, problem = core.look_at(path)
  if not found then return problem end
  if found.kind == "folder" then return "it is a folder" end
  return not found.is_readable and "Permission denied" or nil
end

-- It may be there later.
local function warn_of_unreadable(option, file, warn)
  local problem = problem_of(file.path)
  local called = option == "client_key" and "the file it names" or file.path
  if problem then warn(("%s: can't read %s: %s"):format(file.source, called, problem)) end
end

--- The paths, by what the core calls them; or nil and a message where an option can't be. `from_environment(name, warn,
-- check)` finds what a variable of OpenTelemetry's says, and its name.
function pem_files.find(given, from_environment, warn)
  local found, paths, options = {}, {}, values_of.sorted_names(NAMES)
  for _, option in ipairs(options) do
    local problem
    found[option], problem = named(given, option, from_environment, warn)
    if problem then return nil, problem end
  end
  for option, partner in pairs(PARTNERS) do
    local problem = found[option] and not found[partner] and settle_half(found, option, warn)
    if problem then return nil, problem end
  end
  for _, option in ipairs(options) do
    local file = found[option]
    if file then warn_of_unreadable(option, file, warn) end
    paths[NAMES[option]] = file and file.path
  end
  return paths
end

return pem_files
