-- Jobs that do not wait any more: ARGV holds for each its id, the seconds of audio that it
-- turned out to have (0: unknown), and what is known: 'over', 'dead', or the attempt that
-- the store did not grant, which says nothing of a later one.

local DEAD = 1000

for i = 1, #ARGV, 3 do
  local id, seconds, what = ARGV[i], tonumber(ARGV[i + 1]), ARGV[i + 2]
  local job = job_of(id)
  if job and (tonumber(what) or job.attempt) == job.attempt then
    local begun = score('leases', id)
    redis.call('HDEL', key('jobs'), id)
    take_out(id, job)
    if begun and seconds > 0 then
      charge(job.caller, seconds - job.seconds)
      settle(job.caller)
    end
  end
  if what == 'dead' then
    redis.call('ZADD', key('dead'), number(now_ms()), id)
    redis.call('ZREMRANGEBYRANK', key('dead'), 0, -DEAD - 1)
  elseif what == 'over' then
    redis.call('ZREM', key('dead'), id)
  end
end
tidy()
return 1
