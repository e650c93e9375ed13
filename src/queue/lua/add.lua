-- Jobs that are pending in the store: ARGV holds for each its id, caller, lane, turn,
-- seconds, model, whether it may be done beside others (1 or 0), attempt, and the
-- milliseconds until it is due. What is here already stays as it is. Returns how many were not.

local FIELDS = 9
-- No lease is longer, and no other clock differs by more: what lies behind that was put
-- here before this server's clock was set back.
local FAR = 60000
local LOOK = 64
local now = now_ms()
local added, due = 0, {}

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

-- Call the one that has asked last of those in a line that can do it. A process that is not
-- there any more hears nothing, and is forgotten.
local function call_from(line, model)
  redis.call('ZREMRANGEBYSCORE', key(line), '-inf', number(now))
  for _, member in ipairs(redis.call('ZREVRANGE', key(line), 0, LOOK - 1)) do
    local who, models = string.match(member, '^(%S+) (.*)$')
    if models == '*' or model == '-' or
       string.find(',' .. models .. ',', ',' .. model .. ',', 1, true) then
      redis.call('ZREM', key(line), member)
      if redis.call('PUBLISH', key('bell:' .. who), '') > 0 then
        return true
      end
    end
  end
end

-- One process for each job, so that a thousand that have nothing to do do not all ask for
-- it: one that is idle, else one that can do it beside what it has. When there is none,
-- who ends something asks by himself.
local function wake_one(job)
  if not call_from('waiting', job.model) and job.beside then
    call_from('waiting:' .. job.model, job.model)
  end
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
      table.insert(due, job)
    end
    added = added + 1
  end
end
for _, job in ipairs(due) do
  wake_one(job)
end
return added
