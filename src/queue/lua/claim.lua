-- The next job: ARGV holds the milliseconds that it is reserved for, every how manyth claim
-- is to be a short job at least while one waits, the model of a job that is to be done
-- beside others ('': any job), and the models that the asking machine has, with commas
-- between ('*': any); then who asks, and for how many milliseconds he is to be called when
-- something comes, if there is nothing now. Returns its id and attempt; nothing when none is due; 'lost' when
-- this may not be all that waits.

local LOOK = 20
local reserved, every, model = tonumber(ARGV[1]), tonumber(ARGV[2]), ARGV[3]
local present = {}
for name in string.gmatch(ARGV[4], '[^,]+') do
  present[name] = true
end

-- '-' is a name that is none: whoever takes it says so.
local function can_do(job)
  return present['*'] or present[job.model] or job.model == '-'
end

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
local function first_in_line()
  for _ = 1, MOVE do
    local name, caller = choose_line()
    local id = name and first_of(name)
    local job = id and job_of(id)
    if job or not name then
      return id, job
    end
    if id then
      redis.call('ZREM', key(name), id)
    end
    if caller then
      settle(caller)
    elseif not id then
      return nil
    end
  end
end

-- Near the front, in the order of turns: a caller's first jobs may be of another model
-- than the next.
local function near_the_front()
  local callers = {}
  for _, lane in ipairs(LANES) do
    local list = redis.call('ZRANGE', key('ready:' .. lane), 0, LOOK - 1, 'WITHSCORES')
    for i = 1, #list, 2 do
      table.insert(callers, {line = 'line:' .. lane .. ':' .. list[i], at = tonumber(list[i + 1])})
    end
  end
  table.sort(callers, function(a, b) return a.at < b.at end)
  for _, caller in ipairs(callers) do
    for _, id in ipairs(redis.call('ZRANGE', key(caller.line), 0, LOOK - 1)) do
      local job = job_of(id)
      if job and can_do(job) then
        return id, job
      end
    end
  end
end

-- However many of other models are in front.
local function oldest_of_ours()
  local best, best_turn, best_job
  for name in pairs(present) do
    local id, turn = first_of('of:' .. name)
    local job = id and job_of(id)
    while id and not job do
      redis.call('ZREM', key('of:' .. name), id)
      id, turn = first_of('of:' .. name)
      job = id and job_of(id)
    end
    if id and (not best or turn < best_turn) then
      best, best_turn, best_job = id, turn, job
    end
  end
  return best, best_job
end

-- What this machine lacks the model for stays in its place, for one that has it.
local id, job = first_in_line()
if job and not can_do(job) then
  id, job = near_the_front()
  if not job then
    id, job = oldest_of_ours()
  end
end
local who = ARGV[5] .. ' ' .. ARGV[4]
local line = model == '' and 'waiting' or 'waiting:' .. model
if not job then
  redis.call('ZADD', key(line), number(now + ARGV[6]), who)
  redis.call('PEXPIRE', key(line), ARGV[6])
  return {}
end
redis.call('ZREM', key(line), who)
leave_line(id, job)
virtual_time()
charge(job.caller, job.seconds)
settle(job.caller)
redis.call('ZADD', key('leases'), number(now + reserved), id)
return {id, number(job.attempt)}
