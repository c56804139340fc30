--- Lists that come in pages: the next one is asked for after the last item of the one before.
--
-- `list_page(after)` performs the operation and returns the page after an id, or nil and an error. A list is at its end
-- where a page says `has_more: false`, holds nothing, or begins again with where it was to go on.
local json = require("nexus_assistants.json")

local pages = {}

local function items_of(page)
  local items = {}
  for _, item in ipairs(type(page.data) == "table" and page.data or {}) do
    if type(item) == "table" then items[#items + 1] = item end
  end
  return items
end

-- The id to go on after, nil at the end.
local function next_after(page, items, after)
  local last = items[#items]
  if page.has_more == false or not last or type(last.id) ~= "string" or last.id == after then return nil end
  return last.id
end

--- What all pages hold as one array, or nil and an error; at most `most` pages are read.
function pages.all(list_page, most)
  local all, after = {}, nil
  for _ = 1, most do
    local page, err = list_page(after)
    if not page then return nil, err end
    local items = items_of(page)
    for _, item in ipairs(items) do all[#all + 1] = item end
    after = next_after(page, items, after)
    if not after then break end
  end
  return json.array(all)
end

--- An iterator over the items of all pages; a page is asked for when the loop gets to it. A page that can't be had
-- raises its error object, since a loop has no other way to tell.
function pages.each(list_page)
  local items, index, after, over = {}, 0, nil, false
  local function fetch()
    local page, err = list_page(after)
    if not page then error(err, 0) end
    items, index = items_of(page), 0
    after = next_after(page, items, after)
    over = after == nil
  end
  return function()
    if index == #items and not over then fetch() end
    index = index + 1
    return items[index]
  end
end

return pages
