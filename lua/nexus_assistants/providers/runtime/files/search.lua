--- Searching texts for words: chunks, ranking (BM25 over the chunks), filters on attributes. Pure.
--
-- There is no index: a search goes through the texts once, about 20 ms a MiB, whatever it asks for.
local search = {}

local BYTES_PER_TOKEN = 4
local MAX_WORDS = 32
local WORD = "[%w\128-\255]+"
-- How far back from its end a chunk may be cut shorter, so that it ends between two words.
local SLACK = 64
-- BM25's usual constants: how soon more of the same word counts less, and how much long chunks count less.
local SATURATION, LENGTH_WEIGHT = 1.2, 0.75

-- ------------------------------------------------------------------------------------------------------- chunks

local function is_inside(text, position)
  local byte = text:byte(position)
  return byte and byte >= 128 and byte < 192
end

-- The last byte of a chunk that would end at `stop`: before a word that would be cut, else before a character that
-- would.
local function end_of_chunk(text, start, stop)
  if stop >= #text then return #text end
  local position = stop + 1
  while position > math.max(start + 1, stop - SLACK) and not text:find("^%s", position) do position = position - 1 end
  if text:find("^%s", position) then return position - 1 end
  while stop > start and is_inside(text, stop + 1) do stop = stop - 1 end
  return stop
end

--- Where the chunks of a text begin and where they end: two arrays. `size` and `overlap` are in tokens, as the API
-- counts them; a token is taken to be 4 bytes.
function search.chunks(text, size, overlap)
  local starts, stops, start = {}, {}, 1
  size, overlap = size * BYTES_PER_TOKEN, overlap * BYTES_PER_TOKEN
  while start <= #text do
    local stop = end_of_chunk(text, start, start + size - 1)
    starts[#starts + 1], stops[#stops + 1] = start, stop
    if stop == #text then break end
    start = math.max(start + 1, stop + 1 - overlap)
    while is_inside(text, start) do start = start + 1 end
  end
  return starts, stops
end

-- -------------------------------------------------------------------------------------------------------- words

--- The different words of queries, in lower case, the first 32 of them.
function search.words(queries)
  local words, known = {}, {}
  for _, query in ipairs(queries) do
    for word in query:lower():gmatch(WORD) do
      if #words == MAX_WORDS then return words end
      if not known[word] then words[#words + 1], known[word] = word, true end
    end
  end
  return words
end

-- Counts a word at these positions in all chunks that hold it. `low` is the first chunk that can; returns it.
local function count_word(document, low, first, last, word)
  while document.stops[low] and document.stops[low] < last do low = low + 1 end
  local index = low
  while document.starts[index] and document.starts[index] <= first do
    if document.stops[index] >= last then
      local counts = document.counts[index] or {}
      counts[word] = (counts[word] or 0) + 1
      document.counts[index] = counts
    end
    index = index + 1
  end
  return low
end

local function count_words(document, wanted)
  document.counts = {}
  local low = 1
  for first, word, stop in document.text:lower():gmatch("()(" .. WORD .. ")()") do
    if wanted[word] then low = count_word(document, low, first, stop - 1, word) end
  end
end

-- ------------------------------------------------------------------------------------------------------ ranking

local function gather_statistics(documents, words)
  local wanted, statistics = {}, { chunks = 0, bytes = 0, holding = {} }
  for _, word in ipairs(words) do wanted[word], statistics.holding[word] = true, 0 end
  for _, document in ipairs(documents) do
    count_words(document, wanted)
    statistics.chunks, statistics.bytes = statistics.chunks + #document.starts, statistics.bytes + #document.text
    for _, counts in pairs(document.counts) do
      for word in pairs(counts) do statistics.holding[word] = statistics.holding[word] + 1 end
    end
  end
  return statistics
end

-- What the words are worth: rare ones more. Returns that by word, and their sum.
local function worths(words, statistics)
  local by_word, sum = {}, 0
  for _, word in ipairs(words) do
    local holding = statistics.holding[word]
    by_word[word] = math.log(1 + (statistics.chunks - holding + 0.5) / (holding + 0.5))
    sum = sum + by_word[word]
  end
  return by_word, sum
end

-- Between 0 and 1: the share of what a chunk full of all the words would have.
local function score_of(counts, length, average, by_word, sum)
  local score, slowness = 0, SATURATION * (1 - LENGTH_WEIGHT + LENGTH_WEIGHT * length / average)
  for word, count in pairs(counts) do
    score = score + by_word[word] * count / (count + slowness)
  end
  return score / sum
end

local function add_hits(hits, document, average, by_word, sum)
  for index = 1, #document.starts do
    local counts = document.counts[index]
    if counts then
      local length = document.stops[index] - document.starts[index] + 1
      hits[#hits + 1] = {
        document = document, index = index, order = #hits, score = score_of(counts, length, average, by_word, sum),
      }
    end
  end
end

local function better(one, other)
  if one.score ~= other.score then return one.score > other.score end
  return one.order < other.order
end

--- The chunks that hold any of the words, best first. `documents` is an array of tables with `text`, `starts` and
-- `stops`, which get a member `counts`. Returns an array of `{document, index, score}`, scores between 0 and 1.
function search.rank(documents, words)
  local statistics = gather_statistics(documents, words)
  local by_word, sum = worths(words, statistics)
  local average, hits = math.max(1, statistics.bytes / math.max(1, statistics.chunks)), {}
  for _, document in ipairs(documents) do add_hits(hits, document, average, by_word, sum) end
  table.sort(hits, better)
  return hits
end

-- ------------------------------------------------------------------------------------------------------ filters

local function is_among(value, list)
  for _, item in ipairs(list) do
    if item == value then return true end
  end
  return false
end

local function comparable(one, other)
  return type(one) == type(other) and (type(one) == "number" or type(one) == "string")
end

local COMPARISONS = {
  eq = function(value, wanted) return value == wanted end,
  ne = function(value, wanted) return value ~= wanted end,
  gt = function(value, wanted) return comparable(value, wanted) and value > wanted end,
  gte = function(value, wanted) return comparable(value, wanted) and value >= wanted end,
  lt = function(value, wanted) return comparable(value, wanted) and value < wanted end,
  lte = function(value, wanted) return comparable(value, wanted) and value <= wanted end,
  ["in"] = is_among,
  nin = function(value, list) return not is_among(value, list) end,
}

--- Whether attributes pass a filter, a checked one of the API's.
function search.passes(filter, attributes)
  local compare = COMPARISONS[filter.type]
  if compare then return compare(attributes[filter.key], filter.value) end
  local all = filter.type == "and"
  for _, inner in ipairs(filter.filters) do
    if search.passes(inner, attributes) ~= all then return not all end
  end
  return all
end

return search
