--- Errors with the protocol's own texts.
local errors = require("nexus_assistants.error")

local failure = {}

--- nil and a 400: `text`, and what of the request is to blame.
function failure.bad_request(text, param, code)
  return nil, errors.new({
    kind = "bad_request", status = 400, message = text, param = param, code = code, type = "invalid_request_error",
  })
end

--- nil and a 404 for a file, in the words of the API's older part.
function failure.no_file(id)
  return nil, errors.new({
    kind = "not_found", status = 404, type = "invalid_request_error", param = "id",
    message = "No such File object: " .. tostring(id),
  })
end

--- nil and a 404. `what` is "thread", "message", "run", "run step" or "assistant".
function failure.not_found(what, id)
  return nil, errors.new({
    kind = "not_found", status = 404, type = "invalid_request_error",
    message = "No " .. what .. " found with id '" .. tostring(id) .. "'.",
  })
end

return failure
