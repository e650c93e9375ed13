-- What the scripts share; the build puts it in front of each of them.
--
-- KEYS[1] begins every name, with a hash tag, so that all of them are in one slot of a
-- cluster. The names:
--   jobs              hash: id -> what is known of a job that waits or is being worked on
--   line:LANE:CALLER  sorted set: ids of one caller that wait, by their turn
--   of:MODEL          sorted set: ids that wait, by their turn
--   beside:MODEL      the same, of those that may be done beside others
--   ready:LANE        sorted set: callers who wait, by the turn of their first job and by
--                     what they have had
--   virtual           sorted set: callers who wait -> seconds of audio that they have had
--   idle              the same, of callers who do not wait but have had more than others
--   clock             hash: v, the virtual time; passed, how often a short job was passed
--   later             sorted set: ids that wait until then
--   leases            sorted set: ids that are being worked on, until then
--   dead              sorted set: ids of which a worker died for good, since then
--   whole             there as long as all that waits in the store is here
--   pass:TOKEN        there while the store is being read for what is missing here
--   rate:NAME         when the allowance of somebody is whole again, in microseconds
--   turn              there after a process has begun to compare this with the store
--   store             which database this belongs to, for a minute at a time
--   waiting           sorted set: processes that found nothing to do, each with the models that
--                     it has behind a blank, until when that counts
--   waiting:MODEL     the same, of those that do a job of this model and can do short ones
--                     beside it
--   bell:PROCESS      a channel: there is something for this one
--   bell              a channel for all of them
--
-- Fairness is start-time fair queuing (Goyal, Vin, Cheng 1996), with weight 1 for each
-- caller and, as the virtual time, that of the caller who has had least. A second of audio
-- that a caller has had counts as much as a second that another waits: so turns, which are
-- milliseconds, and what was had come together in one number, and nobody waits for ever.

local prefix = KEYS[1]
local LANES = {'short', 'long'}
local MOVE = 100

local function key(name)
  return prefix .. name
end

-- The server's clock: those of the machines around it differ.
local function now_ms()
  local t = redis.call('TIME')
  return t[1] * 1000 + math.floor(t[2] / 1000)
end

-- Lua would write large numbers with an exponent.
local function number(x)
  return string.format('%.0f', x)
end

local function score(name, member)
  return tonumber(redis.call('ZSCORE', key(name), member) or nil)
end

local function parse(line)
  local caller, lane, turn, seconds, model, beside, attempt =
    string.match(line, '^(%S+) (%S+) (%S+) (%S+) (%S+) (%S+) (%S+)$')
  return {caller = caller, lane = lane, turn = tonumber(turn), seconds = tonumber(seconds),
          model = model, beside = beside == '1', attempt = tonumber(attempt)}
end

local function job_of(id)
  local line = redis.call('HGET', key('jobs'), id)
  return line and parse(line)
end

local function line_of(job)
  return 'line:' .. job.lane .. ':' .. job.caller
end

local function virtual_time()
  local v = tonumber(redis.call('HGET', key('clock'), 'v') or 0)
  local first = redis.call('ZRANGE', key('virtual'), 0, 0, 'WITHSCORES')
  if first[2] and tonumber(first[2]) > v then
    v = tonumber(first[2])
    redis.call('HSET', key('clock'), 'v', number(v))
  end
  return v
end

-- Who begins to wait starts where the one is who has had least, unless he has had more.
local function begin_to_wait(caller)
  local had = math.max(virtual_time(), score('idle', caller) or 0)
  redis.call('ZREM', key('idle'), caller)
  redis.call('ZADD', key('virtual'), number(had), caller)
  return had
end

local function cease_to_wait(caller, had)
  redis.call('ZREM', key('virtual'), caller)
  local v = virtual_time()
  if had > v then
    redis.call('ZADD', key('idle'), number(had), caller)
  end
  redis.call('ZREMRANGEBYSCORE', key('idle'), '-inf', number(v))
end

-- Bring a caller's places among those who wait up to date.
local function settle(caller)
  local had = score('virtual', caller)
  local waits = false
  for _, lane in ipairs(LANES) do
    local first = redis.call('ZRANGE', key('line:' .. lane .. ':' .. caller), 0, 0, 'WITHSCORES')
    if first[1] then
      had = had or begin_to_wait(caller)
      waits = true
      redis.call('ZADD', key('ready:' .. lane), number(first[2] + 1000 * had), caller)
    else
      redis.call('ZREM', key('ready:' .. lane), caller)
    end
  end
  if had and not waits then
    cease_to_wait(caller, had)
  end
end

local function stand_in_line(id, job)
  redis.call('ZADD', key(line_of(job)), number(job.turn), id)
  redis.call('ZADD', key('of:' .. job.model), number(job.turn), id)
  if job.beside then
    redis.call('ZADD', key('beside:' .. job.model), number(job.turn), id)
  end
  settle(job.caller)
end

local function leave_line(id, job)
  redis.call('ZREM', key(line_of(job)), id)
  redis.call('ZREM', key('of:' .. job.model), id)
  redis.call('ZREM', key('beside:' .. job.model), id)
end

-- Wherever it is.
local function take_out(id, job)
  leave_line(id, job)
  redis.call('ZREM', key('later'), id)
  redis.call('ZREM', key('leases'), id)
  settle(job.caller)
end

local function charge(caller, seconds)
  for _, name in ipairs({'virtual', 'idle'}) do
    if score(name, caller) then
      redis.call('ZINCRBY', key(name), number(seconds), caller)
    end
  end
end

-- What counts for nothing any more when there is no job.
local function tidy()
  if redis.call('EXISTS', key('jobs')) == 0 then
    redis.call('DEL', key('clock'), key('virtual'), key('idle'))
  end
end
