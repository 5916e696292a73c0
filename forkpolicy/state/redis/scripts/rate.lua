-- A rate limit: forkpolicy/state/questions/rate.py in Lua, step by step, with equal answers and records.
--
-- KEYS: the counter; the instance, if the request has one.
-- ARGV: the amount; "1" if what is refused counts; the hash of the item; "1" if the amount is a total; the struct formats
--       of the heads and of the counts of one window; how many seconds the record lasts; the most that a count can hold;
--       then each limit and its window in seconds.
-- Reply: 1 if it is over, the seconds until it would not be, and what each window had before.

local amount, refused_counts = tonumber(ARGV[1]), ARGV[2] == '1'
local HEADS, COUNTS, most = ARGV[5], ARGV[6], tonumber(ARGV[8])
local SLOTS, INSTANCE_S, MOST_AMOUNT = 16, 3600, 4503599627370495
local heads_size, counts_size, number = struct.size(HEADS), struct.size(COUNTS), (#ARGV - 8) / 2
local limits, windows, slots = {}, {}, {}
for n = 1, number do
  limits[n], windows[n] = tonumber(ARGV[7 + 2 * n]), tonumber(ARGV[8 + 2 * n])
  slots[n] = math.floor(now * SLOTS / windows[n])
end

-- Window n has its slot, its total and the count of the current slot in heads[3n], [3n + 1] and [3n + 2]; `rings` are the
-- other counts of all windows, packed. The usual case does not look into them.
local function oldest_first(heads, rings, n)
  local ring, counts = {struct.unpack(COUNTS, rings, (n - 1) * counts_size + 1)}, {}
  for i = 0, SLOTS - 1 do counts[i + 1] = ring[(heads[3 * n] + i) % SLOTS + 1] end
  counts[SLOTS + 1] = heads[3 * n + 2]
  return counts
end

local function advanced(heads, rings)
  local moved_heads, moved_rings = {heads[1], heads[2]}, {}
  for n = 1, number do
    local counts, slot, steps = oldest_first(heads, rings, n), slots[n], slots[n] - heads[3 * n]
    local moved, total, ring = {}, 0, {}
    for i = 1, SLOTS + 1 do moved[i] = counts[i + math.max(steps, -1)] or 0 end
    if steps < 0 then moved[SLOTS + 1] = counts[SLOTS] + counts[SLOTS + 1] end
    for i = 1, SLOTS + 1 do total = total + moved[i] end
    for i = 0, SLOTS - 1 do ring[i + 1] = moved[(i - slot) % SLOTS + 1] end
    moved_heads[3 * n], moved_heads[3 * n + 1], moved_heads[3 * n + 2] = slot, total, moved[SLOTS + 1]
    moved_rings[n] = struct.pack(COUNTS, unpack(ring))
  end
  return moved_heads, table.concat(moved_rings)
end

-- The record as of now: its heads, its rings, and whether it is of a later slot than now in any window.
local function current()
  local stored, heads, moves, is_ahead = get(KEYS[1]), {}, false, false
  if not stored or #stored ~= heads_size + counts_size * number then
    for n = 1, number do heads[3 * n], heads[3 * n + 1], heads[3 * n + 2] = slots[n], 0, 0 end
    return heads, string.rep('\0', counts_size * number), false
  end
  heads = {struct.unpack(HEADS, stored)}
  local rings = stored:sub(heads_size + 1)
  for n = 1, number do
    moves, is_ahead = moves or heads[3 * n] ~= slots[n], is_ahead or heads[3 * n] > slots[n]
  end
  if moves then heads, rings = advanced(heads, rings) end
  return heads, rings, is_ahead
end

local heads, rings, is_ahead = current()

local function count()
  local new, over = {FORMAT, math.floor(now) + ARGV[7]}, false
  for n = 1, number do
    local total, count = heads[3 * n + 1] + amount, heads[3 * n + 2] + amount
    over = over or total > limits[n]
    if total > most then total, count = most, math.max(0, count - (total - most)) end
    new[3 * n], new[3 * n + 1], new[3 * n + 2] = slots[n], total, count
  end
  over = over and amount > 0
  if amount > 0 and (refused_counts or not over) then
    put(KEYS[1], struct.pack(HEADS, unpack(new, 1, 3 * number + 2)) .. rings, new[2])
  elseif amount > 0 and is_ahead then
    put(KEYS[1], struct.pack(HEADS, unpack(heads, 1, 3 * number + 2)) .. rings, heads[2])
  end
  return over
end

local function wait_s()
  local free_at = now + 1
  for n = 1, number do
    local lacks, freed, gone = heads[3 * n + 1] + math.min(amount, limits[n]) - limits[n], 0, 0
    if lacks > 0 then
      local counts = oldest_first(heads, rings, n)
      while gone <= SLOTS do
        freed = freed + counts[gone + 1]
        if freed >= lacks then break end
        gone = gone + 1
      end
      free_at = math.max(free_at, (heads[3 * n] + 1 + gone) * windows[n] / SLOTS)
    end
  end
  return math.ceil(free_at - now)
end

-- What the instance has counted, and for which of its requests: 9 bytes for each, the hash and whether the limit held.
local function count_of_instance()
  local data, hash = get(KEYS[2]), ARGV[3]
  local counted = data and #data >= 13 and struct.unpack('<I8', data, 6) or 0
  local items = data and data:sub(14) or ''
  local at = items:find(hash, 1, true)
  while at and (at - 1) % 9 ~= 0 do at = items:find(hash, at + 1, true) end
  local held = at and items:byte(at + 8) == 1 or false
  local function keep()
    local expiry = expires_at(now + INSTANCE_S)
    put(KEYS[2], struct.pack('<BI4I8', FORMAT, expiry, counted) .. items, expiry)
  end
  if ARGV[4] == '1' then amount = math.max(0, amount - counted) end
  if held or amount == 0 or (at and ARGV[4] ~= '1') then
    if items ~= '' then keep() end
    return held
  end
  local over = count()
  if over and not refused_counts then return over end
  if at then items = items:sub(1, at - 1) .. items:sub(at + 9) end
  items = items:sub(-4096 * 9) .. hash .. (over and '\1' or '\0')
  if not over then counted = math.min(counted + amount, MOST_AMOUNT) end
  keep()
  return over
end

local over
if KEYS[2] then over = count_of_instance() else over = count() end
local reply = {over and 1 or 0, over and wait_s() or 0}
for n = 1, number do reply[n + 2] = heads[3 * n + 1] end
return reply
