-- Behind clock.lua in every script: records as forkpolicy/state/store.py has them. Numbers are doubles here, so whole
-- ones are exact up to 2^53.
local FORMAT, LATEST = 1, 4294967295

-- The record of a key; false where there is none, where it has expired, or where its format is unknown.
local function get(key)
  local record = redis.call('GET', key)
  if record and #record >= 5 then
    local format, expiry = struct.unpack('<BI4', record)
    if format == FORMAT and expiry > now then return record end
  end
  return false
end

-- Keep a record in place of the previous one. It begins with `expiry`, when the engine forgets it.
local function put(key, record, expiry)
  redis.call('SET', key, record, 'EXAT', expiry + ahead)
end

-- The expiry of a record that must last until `seconds`.
local function expires_at(seconds)
  return math.min(math.ceil(seconds), LATEST)
end
