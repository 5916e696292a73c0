-- Greylisting: forkpolicy/state/questions/greylisting.py in Lua.
--
-- KEYS: the triplet, its network. ARGV: delay, window and keep in seconds; auto; "1" in training.
-- Reply: 1 if it waits, the seconds that are left, the number of the result.

local TRIPLET, NETWORK, HOUR_S = '<BI4I4I4', '<BI4BI4', 3600
local NEW, EARLY, PASSED, KNOWN, AUTO = 0, 1, 2, 3, 4
local delay, window, keep = tonumber(ARGV[1]), tonumber(ARGV[2]), tonumber(ARGV[3])
local auto, training = tonumber(ARGV[4]), ARGV[5] == '1'
-- `get` still compares with the exact time.
local now = math.floor(now)
local keep_expiry = expires_at(now + keep + 1)

local hours, last = 0, 0
if auto > 0 then
  local record = get(KEYS[2])
  if record and #record == 10 then
    local _, _, hours_then, last_then = struct.unpack(NETWORK, record)
    hours, last = hours_then, last_then
  end
end

local function keep_hours()
  put(KEYS[2], struct.pack(NETWORK, FORMAT, keep_expiry, hours, last), keep_expiry)
end

if auto > 0 and hours >= auto then
  keep_hours()
  return {0, 0, AUTO}
end

local first, passed
local record = get(KEYS[1])
if record and #record == 13 then
  local _, _, first_then, passed_then = struct.unpack(TRIPLET, record)
  if passed_then > 0 then
    if now - passed_then <= keep then first, passed = first_then, passed_then end
  elseif now >= first_then and now - first_then <= window then
    first, passed = first_then, 0
  end
end
local seen = first ~= nil
first, passed = first or now, passed or 0
local left = first + delay - now
if passed > 0 or left <= 0 or training then
  put(KEYS[1], struct.pack(TRIPLET, FORMAT, keep_expiry, first, now), keep_expiry)
  if auto > 0 then
    local hour = math.floor(now / HOUR_S)
    if hour ~= last then hours, last = math.min(hours + 1, 255), hour end
    keep_hours()
  end
  return {0, 0, passed > 0 and KNOWN or seen and PASSED or NEW}
end
if not seen then
  local expiry = expires_at(now + window + 1)
  put(KEYS[1], struct.pack(TRIPLET, FORMAT, expiry, now, 0), expiry)
end
return {1, left, seen and EARLY or NEW}
