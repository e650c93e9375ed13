-- Jobs that are pending in the store: ARGV holds for each its id, caller, lane, turn,
-- seconds, model, whether it may be done beside others (1 or 0), attempt, and the
-- milliseconds until it is due. What is here already stays as it is. Returns how many were not.

local FIELDS = 9
-- No lease is longer, and no other clock differs by more: what lies behind that was put
-- here before this server's clock was set back.
local FAR = 60000
local now = now_ms()
local added, due = 0, false

-- Whether it is where it belongs. One that is being worked on is, unless it has come back
-- from the attempt that has it.
local function is_placed(id, old, line, job, wait)
  local known = parse(old)
  local leased = score('leases', id)
  if leased and leased <= now + FAR then
    return known.attempt >= job.attempt
  end
  if leased or old ~= line then
    return false
  end
  if wait > 0 then
    local at = score('later', id)
    return at and at <= now + wait + FAR
  end
  return score(line_of(job), id) and score('ready:' .. job.lane, job.caller) and
         score('of:' .. job.model, id) and
         (not job.beside or score('beside:' .. job.model, id))
end

for i = 1, #ARGV, FIELDS do
  local id, wait = ARGV[i], tonumber(ARGV[i + 8])
  local line = table.concat(ARGV, ' ', i + 1, i + 7)
  local job = parse(line)
  local old = redis.call('HGET', key('jobs'), id)
  if not old or not is_placed(id, old, line, job, wait) then
    if old then
      take_out(id, parse(old))
    end
    redis.call('HSET', key('jobs'), id, line)
    redis.call('ZREM', key('dead'), id)
    if wait > 0 then
      redis.call('ZADD', key('later'), number(now + wait), id)
    else
      stand_in_line(id, job)
      due = true
    end
    added = added + 1
  end
end
if due then
  redis.call('PUBLISH', key('bell'), '')
end
return added
