--- What `--help` says, made of the command's table.
local help = {}

local WIDEST, NARROWEST = 80, 40 -- columns
local OPTION_WIDTH, COMMAND_WIDTH = 30, 11
local BELOW = 6 -- where there is no room beside an option, what it does stands below it
local ROOM = 30 -- columns

-- How many characters of UTF-8 there are.
local function length(line)
  return #line:gsub("[\128-\191]", "")
end

--- As many columns as the terminal has, of those that lines are read in. Without the core nobody knows.
function help.columns()
  local found, screen = pcall(require, "nexus_assistants.view.screen")
  return found and math.min(WIDEST, math.max(NARROWEST, screen.width())) or WIDEST
end

-- A text behind so many columns, in lines that end between words.
local function wrapped(words, indent, columns)
  local lines, line = {}, nil
  for word in words:gmatch("%S+") do
    local longer = line and line .. " " .. word or word
    if line and indent + length(longer) > columns then
      lines[#lines + 1], longer = line, word
    end
    line = longer
  end
  lines[#lines + 1] = line
  return table.concat(lines, "\n" .. (" "):rep(indent))
end

local function item(left, words, width, columns)
  if columns - width < ROOM then
    return "  " .. left .. "\n" .. (" "):rep(BELOW) .. wrapped(words, BELOW, columns)
  end
  return "  " .. left .. (" "):rep(math.max(width - 2 - length(left), 1)) .. wrapped(words, width, columns)
end

--- How a command is called.
function help.usage(command)
  local usage = command.usage and " " .. command.usage or ""
  local options = command.options[1] and " [OPTIONS]" or ""
  return "nexus-assistants " .. command.name .. (command.options_first and options .. usage or usage .. options)
end

--- What a command does, with its arguments and options, in so many columns.
function help.command(command, columns)
  local usage = wrapped(help.usage(command), 7, columns)
  local lines = { "usage: " .. usage, "  " .. wrapped(command.summary, 2, columns), "" }
  for _, operand in ipairs(command.operands or {}) do
    lines[#lines + 1] = item(operand[1], operand[2], OPTION_WIDTH, columns)
  end
  for _, option in ipairs(command.options) do
    local left = "--" .. option.name .. (option.value and " " .. option.value or "")
    lines[#lines + 1] = item(left, option.help, OPTION_WIDTH, columns)
  end
  return table.concat(lines, "\n") .. "\n"
end

--- What commands there are, in so many columns.
function help.general(commands, columns)
  local lines = { "usage: " .. wrapped("nexus-assistants COMMAND [OPTIONS]", 7, columns), "" }
  for _, command in ipairs(commands) do
    lines[#lines + 1] = item(command.name, command.summary, COMMAND_WIDTH, columns)
  end
  lines[#lines + 1] = ""
  lines[#lines + 1] = wrapped("nexus-assistants COMMAND --help tells its options; --version the version.", 0, columns)
  return table.concat(lines, "\n") .. "\n"
end

return help
