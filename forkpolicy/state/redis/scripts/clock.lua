-- Begins every script. `now`: the engine's clock, in seconds since 1970; hosts that share an engine share its clock.
-- `ahead`: how far the clock by which the engine itself forgets is ahead of it. It is not: tests set the clock so.
local time = redis.call('TIME')
local now, ahead = time[1] + time[2] / 1000000, 0
