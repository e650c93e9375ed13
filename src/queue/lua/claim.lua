-- The next job: ARGV holds the milliseconds that it is reserved for, every how manyth claim
-- is to be a short job at least while one waits, and the model of a job that is to be done
-- beside others ('': any job). Returns its id and attempt; nothing when none is due;
-- 'lost' when this may not be all that waits.

local reserved, every, model = tonumber(ARGV[1]), tonumber(ARGV[2]), ARGV[3]

if redis.call('EXISTS', key('whole')) == 0 then
  return {'lost'}
end

-- What is due, and what is held by nobody any more, waits like the others.
local now = now_ms()
for _, name in ipairs({'later', 'leases'}) do
  local ids = redis.call('ZRANGEBYSCORE', key(name), '-inf', number(now), 'LIMIT', 0, MOVE)
  for _, id in ipairs(ids) do
    redis.call('ZREM', key(name), id)
    local job = job_of(id)
    if job then
      stand_in_line(id, job)
    end
  end
end

local function first_of(name)
  local first = redis.call('ZRANGE', key(name), 0, 0, 'WITHSCORES')
  return first[1], tonumber(first[2])
end

-- Short jobs have their turn like the others, and besides are not passed too often.
-- Returns the name of a line, and whose it is.
local function choose_line()
  if model ~= '' then
    return 'beside:' .. model
  end
  local short, short_at = first_of('ready:short')
  local long, long_at = first_of('ready:long')
  if long and (not short or long_at < short_at) then
    if not short or redis.call('HINCRBY', key('clock'), 'passed', 1) < every then
      return 'line:long:' .. long, long
    end
  end
  if not short then
    return nil
  end
  redis.call('HDEL', key('clock'), 'passed')
  return 'line:short:' .. short, short
end

-- A server that is told to may throw keys away when its memory is full: what they leave
-- behind is cleared away here, and the rest is put in again from the store.
local id, job
for _ = 1, MOVE do
  local name, caller = choose_line()
  id = name and first_of(name)
  job = id and job_of(id)
  if job or not name then
    break
  end
  if id then
    redis.call('ZREM', key(name), id)
  end
  if caller then
    settle(caller)
  elseif not id then
    break
  end
end
if not job then
  return {}
end
leave_line(id, job)
virtual_time()
charge(job.caller, job.seconds)
settle(job.caller)
redis.call('ZADD', key('leases'), number(now + reserved), id)
return {id, number(job.attempt)}
