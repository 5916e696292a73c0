-- How many different values a key has had: forkpolicy/state/questions/distinct.py in Lua.
--
-- KEYS: the values. ARGV: the hash of this one, 6 bytes; the limit; the window in seconds.
-- Reply: how many there are.

local ENTRY = 10
local hash, most, window = ARGV[1], tonumber(ARGV[2]), tonumber(ARGV[3])
local latest = expires_at(now)

-- The entries that are still in the window, the oldest first. What was seen later than now was seen now.
local function recent(record)
  local first, last = 6, #record - (#record - 5) % ENTRY
  if last < first then return '' end
  local function seen(at) return (struct.unpack('<I4', record, at + 6)) end
  if seen(last - ENTRY + 1) > latest then
    local entries = {}
    for at = first, last, ENTRY do
      if seen(at) > now - window then
        entries[#entries + 1] = record:sub(at, at + 5) .. struct.pack('<I4', math.min(seen(at), latest))
      end
    end
    return table.concat(entries)
  end
  while first < last and seen(first) <= now - window do first = first + ENTRY end
  return record:sub(first, last)
end

local record = get(KEYS[1])
local entries = record and recent(record) or ''
local at = entries:find(hash, 1, true)
while at and (at - 1) % ENTRY ~= 0 do at = entries:find(hash, at + 1, true) end
if at then entries = entries:sub(1, at - 1) .. entries:sub(at + ENTRY) end
entries = (entries .. hash .. struct.pack('<I4', latest)):sub(-(most + 1) * ENTRY)
local expiry = expires_at(latest + window)
put(KEYS[1], struct.pack('<BI4', FORMAT, expiry) .. entries, expiry)
return #entries / ENTRY
