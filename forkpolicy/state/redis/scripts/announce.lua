-- What one host runs, and how full the engine is. KEYS: of the host. ARGV: its report; for how many seconds.
-- Reply: the keys of this database, the bytes that are used, the most; zeros where this user may not ask for those.
redis.call('SET', KEYS[1], ARGV[1], 'EX', ARGV[2])
local info = redis.pcall('INFO', 'memory')
local function number(name)
  return type(info) == 'string' and tonumber(info:match(name .. ':(%d+)')) or 0
end
return {redis.call('DBSIZE'), number('used_memory'), number('maxmemory')}
