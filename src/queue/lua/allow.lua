-- Whether one more may come: the generic cell rate algorithm, as in http/ratelimit.c. ARGV
-- holds a name, the microseconds in which one is earned, and those in which all are.
-- Returns 1 or 0, the microseconds until the allowance is whole again, and until one more
-- may come. The key goes when it says nothing any more.

local name, interval, burst = key('rate:' .. ARGV[1]), tonumber(ARGV[2]), tonumber(ARGV[3])
local t = redis.call('TIME')
local now = t[1] * 1000000 + t[2]
local used = tonumber(redis.call('GET', name) or 0)
-- More than all is never used up: this server's clock was set back since.
if used > now + burst then
  used = 0
end
local from = math.max(used, now)
local whole = from + interval
if whole - now > burst then
  return {0, from - now, whole - now - burst}
end
redis.call('SET', name, number(whole), 'PX', number(math.ceil((whole - now) / 1000)))
return {1, whole - now, 0}
